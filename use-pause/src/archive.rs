//! The image's archive as `make` packs it: an OCI image layout in a tar file.

use anyhow::{Context, Result, ensure};
use pause_image::read::Image;
use std::{borrow::Cow, collections::BTreeMap, fs, path::Path};

/// The archive in the executable; empty if it was built without one.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause.tar"));

pub struct Archive {
    pub bytes: Cow<'static, [u8]>,
    /// The image's full name.
    pub name: String,
    /// The digest of the image's index: `sha256:…`.
    pub digest: String,
    /// Each program's sha256 in hex, with the name of its platform.
    pub programs: BTreeMap<String, String>,
}

impl Archive {
    /// Reads the archive in the executable.
    pub fn embedded() -> Result<Self> {
        ensure!(
            !EMBEDDED.is_empty(),
            "this executable was built without an image: give one with --archive pause.tar"
        );
        Self::of(Cow::Borrowed(EMBEDDED)).context("the archive in this executable")
    }

    pub fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let bytes = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
        Self::of(Cow::Owned(bytes)).with_context(|| shown.to_string())
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
