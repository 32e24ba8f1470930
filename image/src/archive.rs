//! The archive: an OCI image layout in a tar file (OCI image specification 1.1, "Image Layout"),
//! and beside it the manifest.json of `docker save`, for the docker load that knows no layouts.
//!
//! `index.json` has one entry, the index of all platforms, as an engine takes each entry there for
//! an image of its own: with one per platform under one name, the last one wins.

use crate::{
    name::Name,
    platform::{Binary, Platform},
};
use anyhow::{Context, Result};
use oci_spec::image::{
    ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REF_NAME, ANNOTATION_SOURCE,
    ANNOTATION_TITLE, ANNOTATION_VERSION, ConfigBuilder, Descriptor, ImageConfigurationBuilder,
    ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, RootFsBuilder,
    SCHEMA_VERSION, Sha256Digest,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// The name under which containerd files an image of an archive.
const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";

/// What `org.opencontainers.image.*` says of the image.
pub struct Annotations {
    pub title: &'static str,
    pub description: &'static str,
    pub version: &'static str,
    pub source: &'static str,
    pub licenses: &'static str,
}

impl Annotations {
    /// For the index: a registry shows these for the image.
    fn full(&self) -> HashMap<String, String> {
        let mut annotations = self.brief();
        annotations.extend(owned([
            (ANNOTATION_DESCRIPTION, self.description),
            (ANNOTATION_SOURCE, self.source),
        ]));
        annotations
    }

    /// For a platform's manifest: every node pulls it, so it says only what it is.
    fn brief(&self) -> HashMap<String, String> {
        owned([
            (ANNOTATION_TITLE, self.title),
            (ANNOTATION_VERSION, self.version),
            (ANNOTATION_LICENSES, self.licenses),
        ])
    }
}

fn owned<const N: usize>(annotations: [(&str, &str); N]) -> HashMap<String, String> {
    annotations
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// An entry of the manifest.json of `docker save`; Docker alone describes it
/// (moby's `image/tarexport`).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: [String; 1],
    layers: [String; 1],
}

/// A multi-arch image, ready to be written.
pub struct Archive {
    /// Path in the archive and content.
    files: BTreeMap<String, Vec<u8>>,
    index: Descriptor,
    pulled: Vec<u64>,
}

impl Archive {
    /// Packs one image per binary and the index of them. Equal arguments make equal bytes.
    ///
    /// # Errors
    ///
    /// Only those of the libraries that build and compress; none is known to happen.
    pub fn pack(name: &Name, binaries: &[Binary], annotations: &Annotations) -> Result<Self> {
        let mut blobs = Blobs::default();
        let mut manifests = Vec::new();
        let mut docker = None;
        let mut pulled = Vec::new();
        for binary in binaries {
            let Packed {
                manifest,
                config,
                layer,
            } = blobs.add_image(binary, annotations)?;
            pulled.push(manifest.size() + config.size() + layer.size());
            docker.get_or_insert(DockerManifest {
                config: path(&config),
                repo_tags: [name.to_string()],
                layers: [path(&layer)],
            });
            manifests.push(manifest);
        }

        let mut index = blobs.add_json(
            MediaType::ImageIndex,
            &index_of(manifests)
                .annotations(annotations.full())
                .build()?,
        )?;
        // The full name in both: of a bare tag containerd makes "import-<date>:tag".
        let name = name.to_string();
        index.set_annotations(Some(owned([
            (ANNOTATION_CONTAINERD_NAME, &name),
            (ANNOTATION_REF_NAME, &name),
        ])));

        let mut files = blobs.0;
        files.insert(
            "index.json".into(),
            json(&index_of(vec![index.clone()]).build()?)?,
        );
        files.insert(
            "oci-layout".into(),
            json(
                &OciLayoutBuilder::default()
                    .image_layout_version("1.0.0")
                    .build()?,
            )?,
        );
        files.insert("manifest.json".into(), json(&docker.as_slice())?);
        Ok(Self {
            files,
            index,
            pulled,
        })
    }

    /// The digest of the index of all platforms: what a registry shows for the image.
    pub fn digest(&self) -> String {
        self.index.digest().to_string()
    }

    /// Bytes that an engine pulls per platform, in the order of the binaries: manifest, config and
    /// compressed layer.
    pub fn pulled(&self) -> &[u64] {
        &self.pulled
    }

    /// Writes the archive. Where that fails, whatever was at `output` before still is.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&self, output: &Path) -> Result<()> {
        let folder = match output.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666)) // less the umask, as any new file
            .tempfile_in(folder)?;
        let mut tar = tar::Builder::new(file);
        for (path, content) in &self.files {
            append(&mut tar, path, 0o444, content)?;
        }
        tar.into_inner()?
            .persist(output)
            .map_err(|failed| failed.error)?;
        Ok(())
    }
}

/// The three blobs of a platform.
struct Packed {
    manifest: Descriptor,
    config: Descriptor,
    layer: Descriptor,
}

/// The blobs of the archive by their paths.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: MediaType, content: Vec<u8>) -> Result<Descriptor> {
        let digest = sha256(&content)?;
        let descriptor = Descriptor::new(media_type, content.len() as u64, digest);
        self.0.insert(path(&descriptor), content);
        Ok(descriptor)
    }

    fn add_json(&mut self, media_type: MediaType, content: &impl Serialize) -> Result<Descriptor> {
        self.add(media_type, json(content)?)
    }

    /// Adds layer, config and manifest of one platform.
    fn add_image(&mut self, binary: &Binary, annotations: &Annotations) -> Result<Packed> {
        let Binary {
            platform, bytes, ..
        } = binary;
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "pause", 0o555, bytes)?;
        let unpacked = tar.into_inner()?;
        let diff_id = sha256(&unpacked)?;
        let mut packed = Vec::new();
        zopfli::compress(
            zopfli::Options::default(),
            zopfli::Format::Gzip,
            &*unpacked,
            &mut packed,
        )?;
        let layer = self.add(MediaType::ImageLayerGzip, packed)?;
        let config = self.add_config(*platform, &format!("sha256:{}", diff_id.digest()))?;
        let mut manifest = self.add_json(
            MediaType::ImageManifest,
            &ImageManifestBuilder::default()
                .schema_version(SCHEMA_VERSION)
                .media_type(MediaType::ImageManifest)
                .config(config.clone())
                .layers([layer.clone()])
                .annotations(annotations.brief())
                .build()?,
        )?;
        manifest.set_platform(Some(platform.oci()?));
        Ok(Packed {
            manifest,
            config,
            layer,
        })
    }

    fn add_config(&mut self, platform: Platform, diff_id: &str) -> Result<Descriptor> {
        let mut config = ImageConfigurationBuilder::default()
            .architecture(platform.arch())
            .os(Os::Linux)
            .config(
                ConfigBuilder::default()
                    .user("65535:65535")
                    .entrypoint(["/pause".to_owned()])
                    .build()?,
            )
            .rootfs(
                RootFsBuilder::default()
                    .typ("layers")
                    .diff_ids([diff_id.to_owned()])
                    .build()?,
            )
            .build()?;
        config.set_variant(platform.variant());
        self.add_json(MediaType::ImageConfig, &config)
    }
}

fn index_of(manifests: Vec<Descriptor>) -> ImageIndexBuilder {
    ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
}

/// Where the archive has a blob.
fn path(blob: &Descriptor) -> String {
    format!("blobs/sha256/{}", blob.digest().digest())
}

fn sha256(content: &[u8]) -> Result<Sha256Digest> {
    let hex: String = Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(hex.parse()?)
}

/// JSON with sorted keys: oci-spec keeps annotations in a map of random order.
fn json(content: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::to_value(content)?)?)
}

/// Appends a file of root's, from 1970.
fn append<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
        .with_context(|| format!("{path} does not fit into a tar file"))
}
