//! The image's archive, as `make` packs it: an OCI image layout in a tar file.

use anyhow::{Context, Result, ensure};
use pause_image::read::Image;
use std::{borrow::Cow, collections::BTreeMap, fs};

/// The one that is in the executable; empty where that was built without.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause.tar"));

/// An archive, and what is in it.
pub struct Archive {
    pub bytes: Cow<'static, [u8]>,
    /// The image's full name.
    pub name: String,
    /// The digest of its index: `sha256:…`.
    pub digest: String,
    /// The sha256 of the program of each platform, in hex, with the platform's name.
    pub programs: BTreeMap<String, String>,
}

impl Archive {
    /// The archive in the executable.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn embedded() -> Result<Self> {
        ensure!(
            !EMBEDDED.is_empty(),
            "this executable was built without an image: give one with --archive pause.tar"
        );
        Self::of(Cow::Borrowed(EMBEDDED)).context("the archive in this executable")
    }

    /// The archive in a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is none that `make` packs.
    pub fn read(file: &std::path::Path) -> Result<Self> {
        let shown = file.display();
        let bytes = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
        Self::of(Cow::Owned(bytes)).with_context(|| format!("{shown}"))
    }

    fn of(bytes: Cow<'static, [u8]>) -> Result<Self> {
        let image = Image::read(&bytes)?;
        let programs = image.platforms.into_iter();
        Ok(Self {
            name: image.name.context("its index.json names no image")?,
            digest: image.index.digest().to_string(),
            bytes,
            programs: programs.map(|it| (it.program, it.name)).collect(),
        })
    }
}
