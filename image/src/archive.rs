//! The archive: an OCI image layout in a tar file (OCI image specification 1.1, "Image Layout"),
//! and beside it the manifest.json of `docker save`, for the docker load that knows no layouts.
//!
//! `index.json` has one entry, the index of all platforms, as an engine takes each entry there for
//! an image of its own: with one per platform under one name, the last one wins.

use crate::{
    layout::{Layout, append, index_of, json, owned, path, sha256},
    name::Name,
    platform::{Binary, Platform},
};
use anyhow::Result;
use oci_spec::image::{
    ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REF_NAME, ANNOTATION_SOURCE,
    ANNOTATION_TITLE, ANNOTATION_VERSION, Arch, ConfigBuilder, Descriptor,
    ImageConfigurationBuilder, ImageManifestBuilder, MediaType, Os, RootFsBuilder, SCHEMA_VERSION,
};
use serde::Serialize;
use std::{collections::HashMap, path::Path};

/// The name under which containerd files an image of an archive.
const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";

/// What `org.opencontainers.image.*` says of the image.
pub struct Annotations {
    /// What its one file is called, too.
    pub title: String,
    pub description: String,
    pub version: &'static str,
    pub source: &'static str,
    pub licenses: &'static str,
}

impl Annotations {
    /// For the index: a registry shows these for the image.
    fn full(&self) -> HashMap<String, String> {
        let mut annotations = self.brief();
        annotations.extend(owned([
            (ANNOTATION_TITLE, &*self.title),
            (ANNOTATION_DESCRIPTION, &*self.description),
            (ANNOTATION_SOURCE, self.source),
        ]));
        annotations
    }

    /// For a platform's manifest: every node pulls it, so it says only what lists of what runs there
    /// ask for.
    fn brief(&self) -> HashMap<String, String> {
        owned([
            (ANNOTATION_VERSION, self.version),
            (ANNOTATION_LICENSES, self.licenses),
        ])
    }
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
    layout: Layout,
    index: Descriptor,
    pulled: Vec<u64>,
}

impl Archive {
    /// Packs one image per binary, of which there is one at least, and the index of them. Equal
    /// arguments make equal bytes.
    ///
    /// # Errors
    ///
    /// Only those of the libraries that build and compress; none is known to happen.
    pub fn pack(name: &Name, binaries: &[Binary], annotations: &Annotations) -> Result<Self> {
        let mut layout = Layout::default();
        let mut manifests = Vec::new();
        let mut docker = Vec::new();
        let mut pulled = Vec::new();
        for binary in binaries {
            let Packed {
                manifest,
                config,
                layer,
            } = add_image(&mut layout, binary, annotations)?;
            pulled.push(manifest.size() + config.size() + layer.size());
            docker.push(DockerManifest {
                config: path(&config),
                repo_tags: [name.to_string()],
                layers: [path(&layer)],
            });
            manifests.push(manifest);
        }

        let mut index = layout.add_json(
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

        layout.finish(&index)?;
        // It keeps one image alone, and most that have no other store are of this platform.
        let amd64 = binaries
            .iter()
            .position(|it| it.platform.arch() == Arch::Amd64);
        layout.add_file("manifest.json", json(&[&docker[amd64.unwrap_or(0)]])?);
        Ok(Self {
            layout,
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
        self.layout.write(output)
    }
}

/// The three blobs of a platform.
struct Packed {
    manifest: Descriptor,
    config: Descriptor,
    layer: Descriptor,
}

/// Adds layer, config and manifest of one platform.
fn add_image(blobs: &mut Layout, binary: &Binary, annotations: &Annotations) -> Result<Packed> {
    let Binary {
        platform, bytes, ..
    } = binary;
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, &annotations.title, 0o555, bytes)?;
    let unpacked = tar.into_inner()?;
    let diff_id = sha256(&unpacked)?;
    let mut packed = Vec::new();
    zopfli::compress(
        zopfli::Options::default(),
        zopfli::Format::Gzip,
        &*unpacked,
        &mut packed,
    )?;
    let layer = blobs.add(MediaType::ImageLayerGzip, packed)?;
    let diff_id = format!("sha256:{}", diff_id.digest());
    let config = add_config(blobs, *platform, &annotations.title, &diff_id)?;
    let mut manifest = blobs.add_json(
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

fn add_config(
    blobs: &mut Layout,
    platform: Platform,
    program: &str,
    diff_id: &str,
) -> Result<Descriptor> {
    let mut config = ImageConfigurationBuilder::default()
        .architecture(platform.arch())
        .os(Os::Linux)
        .config(
            ConfigBuilder::default()
                .user("65535:65535")
                .entrypoint([format!("/{program}")])
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
    blobs.add_json(MediaType::ImageConfig, &config)
}
