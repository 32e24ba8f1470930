//! Packs the archive: an OCI image layout (OCI image specification 1.1, "Image Layout") with the
//! manifest.json of `docker save`, for a docker that cannot load layouts.
//!
//! `index.json` has one entry, the index of all platforms. Engines load each entry as an image: with an entry
//! per platform under one name, the last one would win.

use anyhow::{Context, Result, ensure};
use flate2::{Compression, bufread::GzEncoder};
use oci_spec::image::{
    ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REF_NAME, ANNOTATION_TITLE,
    ANNOTATION_VERSION, Arch, ConfigBuilder, Descriptor, ImageConfigurationBuilder,
    ImageManifestBuilder, MediaType, Os, Platform, RootFsBuilder, SCHEMA_VERSION,
};
use pause_image::{
    layout::{Layout, append, index_of, json, owned, path},
    name, platform, sha256,
};
use serde_json::json;
use std::{fs, io::Read, path::PathBuf};

/// The name that containerd imports an image under.
const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";

/// In the index and in each manifest. A manifest has no other annotation, as each node pulls one.
const VERSION: (&str, &str) = (ANNOTATION_VERSION, env!("CARGO_PKG_VERSION"));

#[derive(clap::Args)]
#[command(
    after_help = "docker load with the classic store takes amd64, or else the first platform."
)]
pub struct Pack {
    /// The image's name with registry and tag: localhost/pause:0.1.0
    #[arg(long, value_name = "NAME")]
    image: String,
    /// The program's name in the image and in the annotations
    #[arg(long, value_name = "NAME", default_value = "pause")]
    title: String,
    /// The description in the annotations
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "The first process of a pod: holds its namespaces, reaps its orphans, sleeps"
    )]
    description: String,
    /// The image's time of creation: 2026-11-25T00:00:00Z
    #[arg(long, value_name = "TIME")]
    created: Option<String>,
    /// The archive to write, atomically
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Each platform with its binary: amd64=target/pause/amd64/pause
    #[arg(required = true, value_name = "PLATFORM=FILE")]
    binaries: Vec<String>,
}

/// A program, and the platform that it is for.
type Binary = (Platform, Vec<u8>);

impl Pack {
    /// Packs an image per binary and their index. Prints what an engine pulls for each, and the image's
    /// digest. The same arguments give the same bytes.
    ///
    /// # Errors
    ///
    /// An argument is wrong, or a file cannot be read or written.
    pub fn run(&self) -> Result<()> {
        name::check(&self.image)?;
        let binaries = self.read()?;
        let mut layout = Layout::default();
        let mut manifests = Vec::new();
        let mut docker = Vec::new();
        let mut table = "platform  bytes of /pause  bytes pulled\n".to_owned();
        for binary in &binaries {
            let [manifest, config, layer] = self.add_image(&mut layout, binary)?;
            let (name, bytes) = (platform::name(&binary.0), binary.1.len());
            let pulled = manifest.size() + config.size() + layer.size();
            table += &format!("{name:<8}  {bytes:>15}  {pulled:>12}\n");
            // Moby's `image/tarexport` is the only description of this format.
            docker.push(json!({
                "Config": path(&config), "RepoTags": [&self.image], "Layers": [path(&layer)],
            }));
            manifests.push(manifest);
        }

        let annotations = [
            VERSION,
            (ANNOTATION_LICENSES, env!("CARGO_PKG_LICENSE")),
            (ANNOTATION_TITLE, &self.title),
            (ANNOTATION_DESCRIPTION, &self.description),
        ];
        let index = index_of(manifests).annotations(owned(annotations));
        let mut index = layout.add_json(MediaType::ImageIndex, &index.build()?)?;
        // Both hold the full name: containerd turns a bare tag into "import-<date>:tag".
        let names = [ANNOTATION_CONTAINERD_NAME, ANNOTATION_REF_NAME];
        index.set_annotations(Some(owned(names.map(|key| (key, &*self.image)))));

        // docker's classic store holds one platform. Most machines with such a store are amd64.
        let mut architectures = binaries.iter().map(|it| it.0.architecture());
        let amd64 = architectures.position(|arch| *arch == Arch::Amd64);
        layout.add_file("manifest.json", json(&[&docker[amd64.unwrap_or(0)]])?);
        layout.write(&index, &self.output)?;
        let (digest, output) = (index.digest(), self.output.display());
        println!("{table}{}\n{digest}\n{output}", self.image);
        Ok(())
    }

    /// Reads the programs. Each must be an ELF executable for its platform.
    fn read(&self) -> Result<Vec<Binary>> {
        let mut binaries: Vec<Binary> = Vec::new();
        for argument in &self.binaries {
            let words = argument.split_once('=');
            let (name, path) =
                words.with_context(|| format!("{argument:?} is not PLATFORM=FILE"))?;
            let platform = platform::named(name)?;
            let is_new = binaries.iter().all(|it| it.0 != platform);
            ensure!(is_new, "platform {name} is given twice");
            let bytes = fs::read(path).with_context(|| format!("no binary for {name}: {path}"))?;
            let arch = platform::arch_of(&bytes).with_context(|| path.to_owned())?;
            let is_right = *platform.architecture() == arch.into();
            ensure!(is_right, "{path}, given as {name}, is for {arch}");
            binaries.push((platform, bytes));
        }
        Ok(binaries)
    }

    /// Adds the manifest, the config and the layer of one platform.
    fn add_image(
        &self,
        layout: &mut Layout,
        (platform, program): &Binary,
    ) -> Result<[Descriptor; 3]> {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, &self.title, 0o555, program)?;
        let unpacked = tar.into_inner()?;
        let layer = layout.add(MediaType::ImageLayerGzip, gzip(&unpacked)?)?;

        let run = ConfigBuilder::default()
            .user("65535:65535")
            // youki refuses a container without it, and containerd adds none.
            .env(["PATH=/".to_owned()])
            .entrypoint([format!("/{}", self.title)]);
        let diff_id = format!("sha256:{}", sha256(&unpacked));
        let layers = RootFsBuilder::default().typ("layers").diff_ids([diff_id]);
        let mut config = ImageConfigurationBuilder::default()
            .architecture(platform.architecture().clone())
            .os(Os::Linux)
            .config(run.build()?)
            .rootfs(layers.build()?)
            .build()?;
        config.set_created(self.created.clone());
        config.set_variant(platform.variant().clone());
        let config = layout.add_json(MediaType::ImageConfig, &config)?;

        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(config.clone())
            .layers([layer.clone()])
            .annotations(owned([VERSION]))
            .build()?;
        let mut manifest = layout.add_json(MediaType::ImageManifest, &manifest)?;
        manifest.set_platform(Some(platform.clone()));
        Ok([manifest, config, layer])
    }
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
