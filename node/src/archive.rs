//! The image's archive, as `make` packs it: an OCI image layout in a tar file.

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, ImageManifest};
use pause_image::layout::{path, sha256};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, fs, io::Read};

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
        let files = unpack(&*bytes).context("is no archive")?;
        let file = |path: &str| {
            let content = files.get(path);
            content.with_context(|| format!("has no {path}: it is no archive of pause"))
        };
        let top: Value = serde_json::from_slice(file("index.json")?)?;
        let name = top["manifests"][0]["annotations"][ANNOTATION_REF_NAME].as_str();
        let name = name.context("its index.json names no image")?.to_owned();
        let top: ImageIndex = serde_json::from_slice(file("index.json")?)?;
        let [image] = &**top.manifests() else {
            bail!("its index.json has {} images", top.manifests().len());
        };
        let blob = |descriptor: &Descriptor| -> Result<&Vec<u8>> {
            let content = file(&path(descriptor))?;
            ensure!(
                sha256(content)?.digest() == descriptor.digest().digest(),
                "its blob {} is damaged",
                descriptor.digest()
            );
            Ok(content)
        };
        let index: ImageIndex = serde_json::from_slice(blob(image)?)?;
        let mut programs = BTreeMap::new();
        for descriptor in index.manifests() {
            let platform = descriptor.platform().as_ref();
            let platform = platform.context("its index has a manifest without a platform")?;
            let variant = platform.variant().as_ref().map(|it| format!("/{it}"));
            let manifest: ImageManifest = serde_json::from_slice(blob(descriptor)?)?;
            blob(manifest.config())?;
            for layer in manifest.layers() {
                for program in unpack(GzDecoder::new(&**blob(layer)?))?.values() {
                    programs.insert(
                        sha256(program)?.digest().to_owned(),
                        format!(
                            "{}{}",
                            platform.architecture(),
                            variant.clone().unwrap_or_default()
                        ),
                    );
                }
            }
        }
        Ok(Self {
            name,
            digest: image.digest().to_string(),
            bytes,
            programs,
        })
    }
}

fn unpack(tar: impl Read) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(entry.path()?.to_string_lossy().into_owned(), content);
    }
    Ok(files)
}
