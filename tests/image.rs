//! The image: the content of target/pause.tar, and that engines load it unchanged.

use flate2::read::GzDecoder;
use oci_spec::image::{
    Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, OciLayout, Os,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read,
};
use tests::{
    engine::{Cli, Containerd, Docker, IMAGE, Nest, Podman, archive, sha256},
    output,
    program::{PLATFORMS, Platform, Program, TERMINATED},
    project,
};

/// The files of the archive by path.
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn of_archive() -> Self {
        let mut tar = tar::Archive::new(File::open(archive()).unwrap());
        let entries = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 0);
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, content)
        });
        let entries: Vec<_> = entries.collect();
        let is_sorted = entries.is_sorted_by(|one, next| one.0 < next.0);
        assert!(is_sorted, "the archive is not sorted, or has a path twice");
        Self(entries.into_iter().collect())
    }

    fn json<T: DeserializeOwned>(&self, path: &str) -> T {
        serde_json::from_slice(&self.0[path]).unwrap()
    }

    /// A blob's content, after a check against its descriptor.
    fn blob(&self, descriptor: &Descriptor) -> &[u8] {
        let content = &*self.0[&path(descriptor)];
        assert_eq!(content.len() as u64, descriptor.size());
        assert_eq!(sha256(content), descriptor.digest().digest());
        content
    }

    fn json_blob<T: DeserializeOwned>(&self, descriptor: &Descriptor, media_type: MediaType) -> T {
        assert_eq!(*descriptor.media_type(), media_type);
        serde_json::from_slice(self.blob(descriptor)).unwrap()
    }

    /// The only entry of index.json.
    fn image(&self) -> Descriptor {
        let index: ImageIndex = self.json("index.json");
        let [image] = &**index.manifests() else {
            panic!("index.json has not one entry; an engine loads each as an image: {index:?}");
        };
        image.clone()
    }

    /// The platforms' images, each of which must have one layer.
    fn images(&self) -> Vec<Image> {
        let index: ImageIndex = self.json_blob(&self.image(), MediaType::ImageIndex);
        assert_eq!(index.manifests().len(), PLATFORMS.len());
        let images = PLATFORMS.iter().zip(index.manifests());
        let images = images.map(|(platform, descriptor)| {
            let manifest: ImageManifest = self.json_blob(descriptor, MediaType::ImageManifest);
            let [layer] = &**manifest.layers() else {
                panic!("{manifest:?}")
            };
            Image {
                platform,
                descriptor: descriptor.clone(),
                config: self.json_blob(manifest.config(), MediaType::ImageConfig),
                layer: layer.clone(),
                manifest,
            }
        });
        images.collect()
    }
}

struct Image {
    platform: &'static Platform,
    descriptor: Descriptor,
    manifest: ImageManifest,
    config: ImageConfiguration,
    layer: Descriptor,
}

impl Image {
    /// The blobs that an engine pulls.
    fn blobs(&self) -> [&Descriptor; 3] {
        [&self.descriptor, self.manifest.config(), &self.layer]
    }
}

fn path(descriptor: &Descriptor) -> String {
    format!("blobs/sha256/{}", descriptor.digest().digest())
}

#[test]
fn is_a_layout_with_every_blob_and_no_other() {
    let files = Files::of_archive();
    let layout: OciLayout = files.json("oci-layout");
    assert_eq!(layout.image_layout_version(), "1.0.0");

    let mut paths: BTreeSet<String> = ["index.json", "oci-layout", "manifest.json"]
        .map(Into::into)
        .into();
    paths.insert(path(&files.image()));
    for image in files.images() {
        files.blob(&image.layer);
        paths.extend(image.blobs().map(path));
    }
    assert_eq!(files.0.into_keys().collect::<BTreeSet<_>>(), paths);
}

#[test]
fn has_its_full_name_for_every_engine() {
    let files = Files::of_archive();
    let image = files.image();
    let names = image.annotations().as_ref().unwrap();
    assert_eq!(names["io.containerd.image.name"], IMAGE);
    assert_eq!(names["org.opencontainers.image.ref.name"], IMAGE);
    let docker: Value = files.json("manifest.json");
    assert_eq!(docker[0]["RepoTags"], json!([IMAGE]));
}

#[test]
fn says_what_it_is() {
    let files = Files::of_archive();
    let index: ImageIndex = files.json_blob(&files.image(), MediaType::ImageIndex);
    let said = index.annotations().as_ref().unwrap();
    for (key, value) in [
        ("title", "pause"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", "MIT OR Apache-2.0"),
    ] {
        assert_eq!(said[&format!("org.opencontainers.image.{key}")], value);
    }
    assert!(said["org.opencontainers.image.description"].contains("first process of a pod"));
    // A fork must build the same bytes, so no repository is named.
    assert!(!said.contains_key("org.opencontainers.image.source"));
    for image in files.images() {
        let said = image.manifest.annotations().as_ref().unwrap();
        let version = &said["org.opencontainers.image.version"];
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn has_each_platform_with_its_config() {
    let changelog = fs::read_to_string(project().join("CHANGELOG.md")).unwrap();
    let heading = concat!("## [", env!("CARGO_PKG_VERSION"), "] - ");
    let released = changelog.lines().find_map(|it| it.strip_prefix(heading));
    let created = released.map(|day| format!("{day}T00:00:00Z"));
    let files = Files::of_archive();
    for image in files.images() {
        let arch = Arch::from(image.platform.arch);
        let variant = image.platform.variant().map(str::to_owned);
        let platform = image.descriptor.platform().as_ref().unwrap();
        assert_eq!(*platform.architecture(), arch);
        assert_eq!(*platform.os(), Os::Linux);
        assert_eq!(platform.variant(), &variant);

        let config = image.config;
        assert_eq!((config.architecture(), config.os()), (&arch, &Os::Linux));
        assert_eq!(config.variant(), &variant);
        assert_eq!(config.created(), &created);
        let run = config.config().as_ref().unwrap();
        assert_eq!(run.user().as_deref(), Some("65535:65535"));
        assert_eq!(run.entrypoint(), &Some(vec!["/pause".to_owned()]));
    }
}

#[test]
fn has_one_layer_with_the_binary_alone() {
    let files = Files::of_archive();
    for image in files.images() {
        assert_eq!(*image.layer.media_type(), MediaType::ImageLayerGzip);
        let mut tar = Vec::new();
        let mut packed = GzDecoder::new(files.blob(&image.layer));
        packed.read_to_end(&mut tar).unwrap();
        let diff_id = format!("sha256:{}", sha256(&tar));
        assert_eq!(*image.config.rootfs().diff_ids(), [diff_id]);

        let mut tar = tar::Archive::new(&*tar);
        let mut entries = tar.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        let header = entry.header().clone();
        assert_eq!(header.path().unwrap().to_str(), Some("pause"));
        assert_eq!(header.mode().unwrap(), 0o555);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), 0);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let program = Program::new("pause", image.platform.name);
        assert_eq!(content, fs::read(program.path).unwrap());
        assert!(entries.next().is_none());
    }
}

#[test]
fn is_little_to_pull() {
    let files = Files::of_archive();
    for image in files.images() {
        let name = image.platform.name;
        let pulled: u64 = image.blobs().map(Descriptor::size).iter().sum();
        println!("{name}: {pulled} bytes");
        assert!(pulled <= 1280, "{name}: {pulled} bytes");
    }
}

#[test]
fn docker_save_names_amd64() {
    let files = Files::of_archive();
    let mut images = files.images().into_iter();
    let amd64 = images.find(|it| it.platform.name == "amd64").unwrap();
    let docker: Value = files.json("manifest.json");
    assert_eq!(docker.as_array().unwrap().len(), 1);
    assert_eq!(docker[0]["Config"], path(amd64.manifest.config()));
    assert_eq!(docker[0]["Layers"], json!([path(&amd64.layer)]));
}

#[test]
fn skopeo_takes_it() {
    let nest = Nest::new();
    let files = Files::of_archive();
    let from = format!("oci-archive:{}", archive().display());
    let raw = output(nest.command("skopeo").args(["inspect", "--raw", &from]));
    assert_eq!(sha256(raw.as_bytes()), files.image().digest().digest());
    for image in files.images() {
        let platform = image.platform;
        let mut skopeo = nest.command("skopeo");
        skopeo.args(["--override-arch", platform.arch]);
        if let Some(variant) = platform.variant() {
            skopeo.args(["--override-variant", variant]);
        }
        let seen = output(skopeo.args(["inspect", "--config", "--raw", &from]));
        assert_eq!(seen.as_bytes(), files.blob(image.manifest.config()));
    }
    let folder = tempfile::tempdir().unwrap();
    let to = format!("dir:{}", folder.path().display());
    output(nest.command("skopeo").args(["copy", "--all", &from, &to]));
    for image in files.images() {
        for blob in &image.blobs()[1..] {
            let copied = folder.path().join(blob.digest().digest());
            assert_eq!(fs::read(copied).unwrap(), files.blob(blob));
        }
    }
}

#[test]
fn podman_loads_it() {
    let podman = Podman::with_images();
    let seen = podman.run(&["image", "inspect", IMAGE]);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen[0]["Architecture"], Platform::native().arch);
    assert_eq!(seen[0]["Config"]["User"], "65535:65535");
    assert_eq!(seen[0]["Config"]["Entrypoint"], json!(["/pause"]));
}

#[test]
fn containerd_imports_all_platforms() {
    let files = Files::of_archive();
    let containerd = Containerd::start();
    println!("{}", containerd.import());
    // docs/nodes.md pins it like this, so that kubelets keep it.
    let pinned = "io.cri-containerd.pinned=pinned";
    containerd.ctr(&["--namespace=k8s.io", "images", "label", IMAGE, pinned]);
    let images = containerd.ctr(&["--namespace=k8s.io", "images", "list"]);
    println!("{images}");
    let mut lines = images.lines();
    let image = lines.find(|line| line.starts_with(IMAGE)).expect(IMAGE);
    let digest = files.image().digest().to_string();
    assert!(image.contains(&digest), "{image}");
    for platform in &PLATFORMS {
        let variant = platform.variant().map(|it| format!("/{it}"));
        let name = format!("linux/{}{}", platform.arch, variant.unwrap_or_default());
        assert!(image.contains(&name), "{name}: {image}");
    }
    assert!(image.contains(pinned), "{image}");
    let stored = containerd.ctr(&["--namespace=k8s.io", "content", "list", "--quiet"]);
    for file in files.0.keys() {
        if let Some(digest) = file.strip_prefix("blobs/sha256/") {
            assert!(stored.contains(digest), "{digest} is not in {stored}");
        }
    }
}

#[test]
fn docker_loads_amd64_and_runs_it() {
    let docker = Docker::start();
    let loaded = docker.load(archive().to_str().unwrap());
    assert!(loaded.contains(IMAGE), "{loaded}");
    let arch = docker.run(&["image", "inspect", "--format={{.Architecture}}", IMAGE]);
    assert_eq!(arch, "amd64");
    if Platform::native().arch == arch {
        docker.run(&["run", "--detach", "--name=pause", "--network=none", IMAGE]);
        docker.run(&["stop", "--time=20", "pause"]);
        assert_eq!(docker.end_of("pause"), (0, TERMINATED.to_owned()));
        docker.run(&["rm", "pause"]);
    }
}
