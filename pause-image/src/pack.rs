//! Packs the archive: an OCI image layout (OCI image specification 1.1, "Image Layout") with the
//! manifest.json of `docker save`, for a docker that cannot load layouts.
//!
//! `index.json` has one entry, the index of all platforms. Engines load each entry as an image: with an entry
//! per platform under one name, the last one would win.

use crate::binary::Binary;
use anyhow::{Context, Result};
use flate2::{Compression, bufread::GzEncoder};
use oci_spec::image::{
    ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REF_NAME, ANNOTATION_TITLE,
    ANNOTATION_VERSION, Arch, ConfigBuilder, Descriptor, ImageConfigurationBuilder,
    ImageManifestBuilder, MediaType, Os, Platform, RootFsBuilder, SCHEMA_VERSION,
};
use pause_image::{
    layout::{Layout, append, index_of, json, owned, path},
    sha256,
};
use serde_json::json;
use std::io::Read;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The name that containerd imports an image under.
const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";

/// In the index and in each manifest. A manifest has no other annotation, as each node pulls one.
const VERSION: (&str, &str) = (ANNOTATION_VERSION, env!("CARGO_PKG_VERSION"));

/// What the image says about itself.
#[derive(clap::Args)]
pub struct About {
    /// The program's name in the image and in the annotations
    #[arg(long, value_name = "NAME", default_value = "pause")]
    pub title: String,
    /// The description in the annotations
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "The first process of a pod: holds its namespaces, reaps its orphans, sleeps"
    )]
    pub description: String,
    /// The image's time of creation: 2026-11-25T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub created: Option<String>,
}

/// A multi-arch image.
pub struct Archive {
    pub layout: Layout,
    /// The index of all platforms. Its digest is the image's in a registry.
    pub index: Descriptor,
    /// The bytes that an engine pulls for each binary: manifest, config and compressed layer.
    pub pulled: Vec<u64>,
}

impl Archive {
    /// Packs an image per binary and their index. The same arguments give the same bytes. Panics without a
    /// binary.
    ///
    /// # Errors
    ///
    /// The image's time of creation is not in RFC 3339.
    pub fn pack(name: &str, binaries: &[Binary], about: &About) -> Result<Self> {
        let About {
            title,
            description,
            created,
        } = about;
        if let Some(created) = created {
            OffsetDateTime::parse(created, &Rfc3339)
                .with_context(|| format!("{created:?} is not a time"))?;
        }
        let mut layout = Layout::default();
        let mut manifests = Vec::new();
        let mut docker = Vec::new();
        let mut pulled = Vec::new();
        for binary in binaries {
            let [manifest, config, layer] = add_image(&mut layout, binary, about)?;
            pulled.push(manifest.size() + config.size() + layer.size());
            // Moby's `image/tarexport` is the only description of this format.
            docker.push(json!({
                "Config": path(&config), "RepoTags": [name], "Layers": [path(&layer)],
            }));
            manifests.push(manifest);
        }

        let annotations = [
            VERSION,
            (ANNOTATION_LICENSES, env!("CARGO_PKG_LICENSE")),
            (ANNOTATION_TITLE, title),
            (ANNOTATION_DESCRIPTION, description),
        ];
        let index = index_of(manifests)
            .annotations(owned(annotations))
            .build()?;
        let mut index = layout.add_json(MediaType::ImageIndex, &index)?;
        // Both hold the full name: containerd turns a bare tag into "import-<date>:tag".
        let names = [ANNOTATION_CONTAINERD_NAME, ANNOTATION_REF_NAME];
        index.set_annotations(Some(owned(names.map(|key| (key, name)))));

        layout.finish(&index)?;
        // docker's classic store holds one platform. Most machines with such a store are amd64.
        let mut platforms = binaries.iter().map(|it| it.platform.architecture());
        let amd64 = platforms.position(|arch| *arch == Arch::Amd64);
        layout.add_file("manifest.json", json(&[&docker[amd64.unwrap_or(0)]])?);
        Ok(Self {
            layout,
            index,
            pulled,
        })
    }
}

/// Adds the manifest, the config and the layer of one platform.
fn add_image(layout: &mut Layout, binary: &Binary, about: &About) -> Result<[Descriptor; 3]> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, &about.title, 0o555, &binary.bytes)?;
    let unpacked = tar.into_inner()?;
    let layer = layout.add(MediaType::ImageLayerGzip, gzip(&unpacked)?)?;
    let diff_id = format!("sha256:{}", sha256(&unpacked));
    let config = add_config(layout, &binary.platform, about, diff_id)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config.clone())
        .layers([layer.clone()])
        .annotations(owned([VERSION]))
        .build()?;
    let mut manifest = layout.add_json(MediaType::ImageManifest, &manifest)?;
    manifest.set_platform(Some(binary.platform.clone()));
    Ok([manifest, config, layer])
}

/// Compresses a layer. Zopfli gives the fewest bytes, but takes half a minute for a large layer.
fn gzip(unpacked: &[u8]) -> Result<Vec<u8>> {
    let mut packed = Vec::new();
    if unpacked.len() > 1 << 16 {
        GzEncoder::new(unpacked, Compression::best()).read_to_end(&mut packed)?;
    } else {
        let options = zopfli::Options::default();
        zopfli::compress(options, zopfli::Format::Gzip, unpacked, &mut packed)?;
    }
    Ok(packed)
}

fn add_config(
    layout: &mut Layout,
    platform: &Platform,
    about: &About,
    diff_id: String,
) -> Result<Descriptor> {
    let run = ConfigBuilder::default()
        .user("65535:65535")
        .entrypoint([format!("/{}", about.title)]);
    let layers = RootFsBuilder::default().typ("layers").diff_ids([diff_id]);
    let mut config = ImageConfigurationBuilder::default();
    if let Some(created) = &about.created {
        config = config.created(created);
    }
    let mut config = config
        .architecture(platform.architecture().clone())
        .os(Os::Linux)
        .config(run.build()?)
        .rootfs(layers.build()?)
        .build()?;
    config.set_variant(platform.variant().clone());
    layout.add_json(MediaType::ImageConfig, &config)
}
