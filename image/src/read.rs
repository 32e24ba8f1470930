//! Reads archives and checks them.

use crate::{
    layout::{path, sha256},
    platform,
};
use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, ImageManifest};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::BTreeMap, io::Read};

/// No file of ours has nearly this many bytes.
const TOO_LARGE: u64 = 1 << 20;

/// The files of an archive by path.
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// # Errors
    ///
    /// The archive is not a tar file, or has a file that is too large.
    pub fn read(archive: &[u8]) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries().context("not a tar archive")? {
            let entry = entry.context("not a tar archive")?;
            let path = entry.path()?.to_string_lossy().into_owned();
            files.insert(path.clone(), limited(entry, &path)?);
        }
        Ok(Self(files))
    }

    /// The image's name, as engines read it.
    pub fn name(&self) -> Option<String> {
        let index: Value = parse(self.0.get("index.json")?, "index.json").ok()?;
        let name = &index["manifests"][0]["annotations"][ANNOTATION_REF_NAME];
        name.as_str().map(str::to_owned)
    }

    /// The one entry of index.json.
    fn image(&self) -> Result<Descriptor> {
        let file = self.file("index.json", "index.json")?;
        let entries: ImageIndex = parse(file, "index.json")?;
        let [image] = &**entries.manifests() else {
            bail!("index.json has {} images", entries.manifests().len());
        };
        Ok(image.clone())
    }

    /// Calls `found` with each blob's name, content and descriptor, and once more with each layer
    /// unpacked, which has no descriptor. Returns each platform with its manifest and unpacked layer.
    ///
    /// # Errors
    ///
    /// A blob is missing or cannot be parsed, or `found` fails. `found` has had all blobs before it.
    pub fn blobs(
        &self,
        mut found: impl FnMut(&str, &[u8], Option<&Descriptor>) -> Result<()>,
    ) -> Result<Vec<(String, Descriptor, Vec<u8>)>> {
        let index = self.blob("index", &self.image()?, &mut found)?;
        let index: ImageIndex = parse(index, "index")?;
        let mut platforms = Vec::new();
        for descriptor in index.manifests() {
            let platform = descriptor.platform().as_ref();
            let platform = platform.context("the index has a manifest without a platform")?;
            let platform = platform::name(platform);
            let name = format!("manifest of {platform}");
            let manifest = self.blob(&name, descriptor, &mut found)?;
            let manifest: ImageManifest = parse(manifest, &name)?;
            let [layer] = &**manifest.layers() else {
                bail!("the {name} has {} layers", manifest.layers().len());
            };
            let config = format!("config of {platform}");
            self.blob(&config, manifest.config(), &mut found)?;
            let name = format!("layer of {platform}");
            let packed = self.blob(&name, layer, &mut found)?;
            let unpacked = limited(GzDecoder::new(packed), &name)
                .with_context(|| format!("cannot decompress the {name}"))?;
            found(&format!("{name}, unpacked"), &unpacked, None)?;
            platforms.push((platform, descriptor.clone(), unpacked));
        }
        Ok(platforms)
    }

    fn blob(
        &self,
        name: &str,
        blob: &Descriptor,
        found: &mut impl FnMut(&str, &[u8], Option<&Descriptor>) -> Result<()>,
    ) -> Result<&[u8]> {
        let content = self.file(&path(blob), name)?;
        found(name, content, Some(blob))?;
        Ok(content)
    }

    fn file(&self, path: &str, name: &str) -> Result<&[u8]> {
        let content = self.0.get(path);
        Ok(content.with_context(|| format!("the archive lacks the {name} ({path})"))?)
    }
}

fn parse<T: DeserializeOwned>(content: &[u8], name: &str) -> Result<T> {
    serde_json::from_slice(content).with_context(|| format!("cannot parse the {name}"))
}

fn limited(content: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(TOO_LARGE).read_to_end(&mut bytes)?;
    let fits = (bytes.len() as u64) < TOO_LARGE;
    ensure!(fits, "{name} is too large to be part of pause's image");
    Ok(bytes)
}

/// An image all of whose blobs match their digests.
pub struct Image {
    /// The image's name, as engines read it.
    pub name: Option<String>,
    pub index: Descriptor,
    pub platforms: Vec<Platform>,
}

/// The image of one platform.
pub struct Platform {
    /// As OCI writes it: amd64, arm/v7.
    pub name: String,
    pub manifest: Descriptor,
    /// sha256 of /pause, in hex.
    pub program: String,
}

impl Image {
    /// # Errors
    ///
    /// The archive cannot be read, or `make` did not make it.
    pub fn read(archive: &[u8]) -> Result<Self> {
        let files = Files::read(archive)?;
        let platforms = files.blobs(|name, content, descriptor| {
            let digest = descriptor.map(Descriptor::digest);
            let Some(digest) = digest.filter(|it| it.digest() != sha256(content)) else {
                return Ok(());
            };
            bail!("the {name} is damaged: its digest is not {digest}");
        })?;
        let platforms = platforms.into_iter().map(|(name, manifest, layer)| {
            let program = sha256(Files::read(&layer)?.file("pause", "program")?);
            Ok(Platform {
                name,
                manifest,
                program,
            })
        });
        Ok(Self {
            name: files.name(),
            index: files.image()?,
            platforms: platforms.collect::<Result<_>>()?,
        })
    }
}
