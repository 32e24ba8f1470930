//! Reads archives and checks them.

use crate::{layout::path, platform, sha256};
use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use oci_spec::image::{
    ANNOTATION_REF_NAME, Descriptor, ImageConfiguration, ImageIndex, ImageManifest,
};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

/// No file of ours has nearly this many bytes.
const TOO_LARGE: u64 = 1 << 20;

/// An image all of whose blobs match their digests, from an archive with no other file.
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
    pub config: Descriptor,
    /// The image's time of creation, in RFC 3339.
    pub created: Option<String>,
    /// sha256 of /pause, in hex.
    pub program: String,
}

impl Image {
    /// # Errors
    ///
    /// The archive cannot be read, or `make` did not make it, or a blob is damaged.
    pub fn read(archive: &[u8]) -> Result<Self> {
        let mut files = Files::read(archive)?;
        let entries: ImageIndex = parse(files.file("index.json", "list of images")?, "index.json")?;
        let [index] = &**entries.manifests() else {
            bail!("index.json has {} images", entries.manifests().len());
        };
        let name = index.annotations().as_ref();
        let name = name.and_then(|it| it.get(ANNOTATION_REF_NAME)).cloned();
        let platforms = parse(files.blob(index, "index")?, "index");
        let platforms: ImageIndex = platforms.context("not an image of several platforms")?;
        let platforms = platforms.manifests().iter();
        let platforms = platforms.map(|it| files.platform(it));
        let image = Self {
            name,
            index: index.clone(),
            platforms: platforms.collect::<Result<_>>()?,
        };
        // docker reads manifest.json, which may name any file.
        files
            .read
            .extend(["manifest.json", "oci-layout"].map(str::to_owned));
        if let Some(path) = files.content.keys().find(|it| !files.read.contains(*it)) {
            bail!("the archive has a file that is no part of the image: {path}");
        }
        Ok(image)
    }
}

/// The files of an archive.
struct Files {
    /// By path.
    content: BTreeMap<String, Vec<u8>>,
    /// The paths of those that were read.
    read: BTreeSet<String>,
}

impl Files {
    fn read(archive: &[u8]) -> Result<Self> {
        let mut content = BTreeMap::new();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries().context("not a tar archive")? {
            let entry = entry.context("not a tar archive")?;
            let path = entry.path()?.to_string_lossy().into_owned();
            if !entry.header().entry_type().is_dir() {
                let twice = content.insert(path.clone(), limited(entry, &path)?);
                ensure!(twice.is_none(), "the archive has {path} twice");
            }
        }
        let read = BTreeSet::new();
        Ok(Self { content, read })
    }

    fn file(&mut self, path: &str, name: &str) -> Result<&[u8]> {
        self.read.insert(path.to_owned());
        let content = self.content.get(path);
        Ok(content.with_context(|| format!("the archive lacks the {name} ({path})"))?)
    }

    fn blob(&mut self, blob: &Descriptor, name: &str) -> Result<&[u8]> {
        let content = self.file(&path(blob), name)?;
        let digest = blob.digest();
        let is_whole = digest.digest() == sha256(content);
        ensure!(
            is_whole,
            "the {name} is damaged: its digest is not {digest}"
        );
        Ok(content)
    }

    fn platform(&mut self, descriptor: &Descriptor) -> Result<Platform> {
        let platform = descriptor.platform().as_ref();
        let platform = platform.context("the index has a manifest without a platform")?;
        let platform = platform::name(platform);
        let name = format!("manifest of {platform}");
        let manifest: ImageManifest = parse(self.blob(descriptor, &name)?, &name)?;
        let [layer] = &**manifest.layers() else {
            bail!("the {name} has {} layers", manifest.layers().len());
        };
        let name = format!("config of {platform}");
        let config: ImageConfiguration = parse(self.blob(manifest.config(), &name)?, &name)?;
        let name = format!("layer of {platform}");
        let unpacked = limited(GzDecoder::new(self.blob(layer, &name)?), &name)
            .with_context(|| format!("cannot decompress the {name}"))?;
        Ok(Platform {
            config: manifest.config().clone(),
            created: config.created().clone(),
            program: sha256(Self::read(&unpacked)?.file("pause", "program")?),
            name: platform,
        })
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
