//! The image's archive as `make` packs it: an OCI image layout in a tar file.

use anyhow::{Context, Result, ensure};
use pause_image::read::Image;
use std::{borrow::Cow, collections::BTreeMap, fs, io::Read, path::Path};

/// The archive in the executable; empty if it was built without one.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause.tar"));

pub struct Archive {
    pub bytes: Cow<'static, [u8]>,
    /// The image's full name.
    pub name: String,
    /// The sha256, in hex, of the image's index and of each platform's config. A runtime's id of the image is
    /// one of them.
    pub ids: Vec<String>,
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
        let configs = image.platforms.iter().map(|it| &it.config);
        let all = [&image.index].into_iter().chain(configs);
        Ok(Self {
            name: image.name.context("its index.json names no image")?,
            ids: all.map(|it| it.digest().digest().to_owned()).collect(),
            bytes,
            programs: image
                .platforms
                .into_iter()
                .map(|it| (it.program, it.name))
                .collect(),
        })
    }

    /// Whether a runtime's id of an image is that of this one.
    pub fn has_id(&self, id: &str) -> bool {
        let id = id.strip_prefix("sha256:").unwrap_or(id);
        self.ids.iter().any(|it| it == id)
    }

    /// The same image under another name. No blob changes.
    pub fn named(self, name: &str) -> Result<Self> {
        pause_image::name::check(name)?;
        if name == self.name {
            return Ok(self);
        }
        let [old, new] = [&*self.name, name].map(|name| format!("\"{name}\""));
        let mut renamed = tar::Builder::new(Vec::new());
        for entry in tar::Archive::new(&*self.bytes).entries()? {
            let mut entry = entry?;
            let mut header = entry.header().clone();
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            if ["index.json", "manifest.json"]
                .map(str::as_bytes)
                .contains(&&*entry.path_bytes())
            {
                content = String::from_utf8(content)?.replace(&old, &new).into();
                header.set_size(content.len() as u64);
                header.set_cksum();
            }
            renamed.append(&header, &*content)?;
        }
        Self::of(renamed.into_inner()?.into())
    }
}
