//! What is in an archive that may be ours.

use crate::digests::Digests;
use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use oci_spec::{
    distribution::Reference,
    image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, ImageManifest},
};
use pause_image::{
    layout::{path, sha256},
    platform,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, io::Read, path::Path, process::Command};

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
        for entry in tar::Archive::new(archive)
            .entries()
            .context("is no archive")?
        {
            let entry = entry.context("is no archive")?;
            let path = entry.path()?.to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.take(TOO_LARGE).read_to_end(&mut content)?;
            ensure!(
                content.len() < TOO_LARGE as usize,
                "{path} is too large to be ours"
            );
            files.insert(path, content);
        }
        Ok(Self(files))
    }

    /// The name that it has for engines.
    pub fn name(&self) -> Option<String> {
        let index: Value = serde_json::from_slice(self.0.get("index.json")?).ok()?;
        let name = &index["manifests"][0]["annotations"][ANNOTATION_REF_NAME];
        name.as_str().map(str::to_owned)
    }

    /// Adds the digest of each blob, by what it is. They are of the bytes that are there, whatever
    /// the blobs are called.
    ///
    /// # Errors
    ///
    /// A blob that is missing, or does not say where the next is.
    pub fn add_digests(&self, digests: &mut Digests) -> Result<()> {
        let image = self.image()?;
        self.add(digests, "index", &image)?;
        for (platform, descriptor) in self.manifests(&image)? {
            let manifest_of = format!("manifest of {platform}");
            self.add(digests, &manifest_of, &descriptor)?;
            let manifest: ImageManifest = self.json(&path(&descriptor), &manifest_of)?;
            let [layer] = &**manifest.layers() else {
                bail!("the {manifest_of} has {} layers", manifest.layers().len());
            };
            self.add(digests, &format!("config of {platform}"), manifest.config())?;
            self.add(digests, &format!("layer of {platform}"), layer)?;
            let unpacked = self.unpack(&platform, layer)?;
            digests.add(&format!("layer of {platform}, unpacked"), &unpacked)?;
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

    fn unpack(&self, platform: &str, layer: &Descriptor) -> Result<Vec<u8>> {
        let packed = self.0.get(&path(layer));
        let packed = packed.with_context(|| format!("has no layer of {platform}"))?;
        let mut unpacked = Vec::new();
        GzDecoder::new(&**packed)
            .take(TOO_LARGE)
            .read_to_end(&mut unpacked)
            .with_context(|| format!("the layer of {platform} is not compressed"))?;
        Ok(unpacked)
    }

    fn add(&self, digests: &mut Digests, name: &str, blob: &Descriptor) -> Result<()> {
        let content = self.0.get(&path(blob));
        let content = content.with_context(|| format!("has no {name} ({})", blob.digest()))?;
        digests.add(name, content)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, path: &str, name: &str) -> Result<T> {
        let content = self.0.get(path).with_context(|| format!("has no {name}"))?;
        serde_json::from_slice(content).with_context(|| format!("the {name} cannot be read"))
    }
}

/// An image that is whole.
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
    pub fn read(archive: &Path) -> Result<Self> {
        let file = archive.display();
        let bytes = fs::read(archive).with_context(|| format!("cannot read {file}"))?;
        Self::of(&bytes).with_context(|| format!("{file}"))
    }

    fn of(archive: &[u8]) -> Result<Self> {
        let files = Files::read(archive)?;
        let index = files.image()?;
        let mut platforms = Vec::new();
        for (name, descriptor) in files.manifests(&index)? {
            let manifest: ImageManifest = files.json(&path(&descriptor), "manifest")?;
            let layer = files.unpack(&name, &manifest.layers()[0])?;
            let program = Files::read(&layer)?;
            let program = program.0.get("pause").context("the layer has no /pause")?;
            platforms.push(Platform {
                name,
                manifest: descriptor,
                program: sha256(program)?.digest().to_owned(),
            });
        }
        Ok(Self {
            name: files.name(),
            index,
            platforms,
        })
    }
}

/// Copies an image, all platforms, from its registry into an archive, by skopeo.
///
/// # Errors
///
/// It is no name of an image; there is no skopeo; skopeo fails.
pub fn pull(name: &str, flags: &[String], archive: &Path) -> Result<()> {
    name.parse::<Reference>()
        .with_context(|| format!("{name:?} is neither a file nor the name of an image"))?;
    let output = Command::new("skopeo")
        .args(["copy", "--all", "--quiet"])
        .args(flags)
        .arg(format!("docker://{name}"))
        .arg(format!("oci-archive:{}", archive.display()))
        .output()
        .context("cannot run skopeo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cannot pull {name}: {}",
        said.lines().last().unwrap_or("skopeo does not say why")
    );
    Ok(())
}
