//! What is in an archive that may be ours.

use crate::{
    layout::{path, sha256},
    platform,
};
use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, ImageManifest};
use serde_json::Value;
use std::{collections::BTreeMap, io::Read};

/// Bytes of a file that is far too large to be one of ours.
const TOO_LARGE: u64 = 1 << 20;

/// The files of an archive by their paths.
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// # Errors
    ///
    /// It is no tar file, or has a file in it that is too large.
    pub fn read(archive: &[u8]) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries().context("is no archive")? {
            let entry = entry.context("is no archive")?;
            let path = entry.path()?.to_string_lossy().into_owned();
            files.insert(path.clone(), limited(entry, &path)?);
        }
        Ok(Self(files))
    }

    /// The name that it has for engines.
    pub fn name(&self) -> Option<String> {
        let index: Value = self.json("index.json", "index.json").ok()?;
        let name = &index["manifests"][0]["annotations"][ANNOTATION_REF_NAME];
        name.as_str().map(str::to_owned)
    }

    /// Each blob's name and content, whatever the blob is called; the content of each layer twice, as
    /// it is and unpacked.
    ///
    /// # Errors
    ///
    /// A blob that is missing, or does not say where the next is. What was found before is in `found`.
    pub fn blobs(&self, mut found: impl FnMut(String, &[u8])) -> Result<()> {
        let image = self.image()?;
        found("index".to_owned(), self.blob(&image, "index")?);
        for (platform, descriptor) in self.manifests(&image)? {
            let of = |part: &str| format!("{part} of {platform}");
            found(of("manifest"), self.blob(&descriptor, &of("manifest"))?);
            let (config, layer) = self.manifest(&descriptor, &platform)?;
            found(of("config"), self.blob(&config, &of("config"))?);
            found(of("layer"), self.blob(&layer, &of("layer"))?);
            found(of("layer") + ", unpacked", &self.unpack(&layer, &platform)?);
        }
        Ok(())
    }

    /// The one entry of index.json.
    fn image(&self) -> Result<Descriptor> {
        let entries: ImageIndex = self.json("index.json", "index.json")?;
        let [image] = &**entries.manifests() else {
            bail!("index.json has {} images", entries.manifests().len());
        };
        Ok(image.clone())
    }

    /// The manifests by the names of their platforms.
    fn manifests(&self, image: &Descriptor) -> Result<Vec<(String, Descriptor)>> {
        let index: ImageIndex = self.json(&path(image), "index")?;
        let manifests = index.manifests().iter().map(|descriptor| {
            let platform = descriptor.platform().as_ref();
            let platform = platform.context("the index has a manifest without a platform")?;
            Ok((platform::name(platform), descriptor.clone()))
        });
        manifests.collect()
    }

    /// The config and the one layer of a manifest.
    fn manifest(&self, manifest: &Descriptor, platform: &str) -> Result<(Descriptor, Descriptor)> {
        let name = format!("manifest of {platform}");
        let manifest: ImageManifest = self.json(&path(manifest), &name)?;
        let [layer] = &**manifest.layers() else {
            bail!("the {name} has {} layers", manifest.layers().len());
        };
        Ok((manifest.config().clone(), layer.clone()))
    }

    fn unpack(&self, layer: &Descriptor, platform: &str) -> Result<Vec<u8>> {
        let name = format!("layer of {platform}");
        let packed = self.blob(layer, &name)?;
        limited(GzDecoder::new(packed), &name)
            .with_context(|| format!("the {name} is not compressed"))
    }

    fn blob(&self, blob: &Descriptor, name: &str) -> Result<&[u8]> {
        self.file(&path(blob), name)
    }

    fn file(&self, path: &str, name: &str) -> Result<&[u8]> {
        let content = self.0.get(path);
        Ok(content.with_context(|| format!("has no {name} ({path})"))?)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, path: &str, name: &str) -> Result<T> {
        serde_json::from_slice(self.file(path, name)?)
            .with_context(|| format!("the {name} cannot be read"))
    }
}

fn limited(content: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(TOO_LARGE).read_to_end(&mut bytes)?;
    let fits = (bytes.len() as u64) < TOO_LARGE;
    ensure!(fits, "{name} is too large to be ours");
    Ok(bytes)
}

/// An image that is whole: each blob has the digest that it is named by.
pub struct Image {
    /// The name that it has for engines.
    pub name: Option<String>,
    pub index: Descriptor,
    pub platforms: Vec<Platform>,
}

/// The image of a platform.
pub struct Platform {
    /// As OCI calls it: amd64, arm/v7.
    pub name: String,
    pub manifest: Descriptor,
    /// sha256 of /pause, in hex.
    pub program: String,
}

impl Image {
    /// # Errors
    ///
    /// The archive cannot be read, or is none that `make` made.
    pub fn read(archive: &[u8]) -> Result<Self> {
        let files = Files::read(archive)?;
        let index = files.image()?;
        let whole = |blob: &Descriptor, name: &str| -> Result<()> {
            let is_whole = sha256(files.blob(blob, name)?) == blob.digest().digest();
            ensure!(
                is_whole,
                "the {name} is damaged: it is not {}",
                blob.digest()
            );
            Ok(())
        };
        whole(&index, "index")?;
        let mut platforms = Vec::new();
        for (name, descriptor) in files.manifests(&index)? {
            whole(&descriptor, &format!("manifest of {name}"))?;
            let (config, layer) = files.manifest(&descriptor, &name)?;
            whole(&config, &format!("config of {name}"))?;
            whole(&layer, &format!("layer of {name}"))?;
            let program = Files::read(&files.unpack(&layer, &name)?)?;
            platforms.push(Platform {
                program: sha256(program.file("pause", "/pause")?),
                name,
                manifest: descriptor,
            });
        }
        Ok(Self {
            name: files.name(),
            index,
            platforms,
        })
    }
}
