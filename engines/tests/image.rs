//! The image: the content of target/pause.tar, and that engines load it unchanged. Reads the archive without
//! the packer's library for OCI.

use engines::{
    engine::{Cli, Containerd, Docker, IMAGE, Nest, Podman, archive, sha256},
    output,
    program::{PLATFORMS, Platform, Program, TERMINATED},
    project,
};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The files of a tar archive by path, with their modes. All are root's, and of 1970.
fn files_of(tar: impl Read) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut tar = tar::Archive::new(tar);
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert!(header.entry_type().is_file());
        assert_eq!(header.mtime().unwrap(), 0);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let mode = header.mode().unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, (mode, content))
    });
    let entries: Vec<_> = entries.collect();
    let is_sorted = entries.is_sorted_by(|one, next| one.0 < next.0);
    assert!(is_sorted, "an archive is not sorted, or has a path twice");
    entries.into_iter().collect()
}

/// The files of target/pause.tar by path.
fn packed() -> BTreeMap<String, Vec<u8>> {
    let files = files_of(File::open(archive()).unwrap()).into_iter();
    files.map(|(path, (_, content))| (path, content)).collect()
}

fn parse(content: &[u8]) -> Value {
    serde_json::from_slice(content).unwrap()
}

/// The path in an archive of the blob that a descriptor is for.
fn path(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap();
    format!("blobs/{}", digest.replace(':', "/"))
}

/// The descriptor of a blob.
fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"),
        "digest": format!("sha256:{}", sha256(content)),
        "size": content.len(),
    })
}

/// The day in CHANGELOG.md on which this version was released.
fn release_day() -> Option<String> {
    let changelog = fs::read_to_string(project().join("CHANGELOG.md")).unwrap();
    let heading = format!("## [{VERSION}] - ");
    let mut days = changelog.lines().filter_map(|it| it.strip_prefix(&heading));
    days.next().map(str::to_owned)
}

/// The whole archive, from the programs up.
#[test]
fn has_each_platform_and_no_other_file() {
    let files = packed();
    let mut paths = vec![];
    // The content of the blob that a descriptor in the archive is for.
    let mut blob = |descriptor: &Value| {
        paths.push(path(descriptor));
        &*files[&path(descriptor)]
    };
    let entries = parse(&files["index.json"]);
    let index = blob(&entries["manifests"][0]);
    let found = parse(index);
    let mut manifests = Vec::new();
    let mut docker = Value::Null;
    let day = release_day();
    for (at, platform) in PLATFORMS.iter().enumerate() {
        let manifest = blob(&found["manifests"][at]);
        let parsed = parse(manifest);
        let config = blob(&parsed["config"]);
        let layer = blob(&parsed["layers"][0]);

        // The layer has the program alone.
        let mut unpacked = Vec::new();
        GzDecoder::new(layer).read_to_end(&mut unpacked).unwrap();
        let program = fs::read(Program::new("pause", platform.name).path).unwrap();
        let is_alone = files_of(&*unpacked) == [("pause".to_owned(), (0o555, program))].into();
        assert!(is_alone, "{}", platform.name);

        let mut oci = json!({"architecture": platform.arch, "os": "linux"});
        if let Some(variant) = platform.variant() {
            oci["variant"] = json!(variant);
        }
        let mut expected = oci.clone();
        if let Some(day) = &day {
            expected["created"] = json!(format!("{day}T00:00:00Z"));
        }
        expected["config"] = json!({"User": "65535:65535", "Entrypoint": ["/pause"]});
        let diff_id = format!("sha256:{}", sha256(&unpacked));
        expected["rootfs"] = json!({"type": "layers", "diff_ids": [diff_id]});
        assert_eq!(parse(config), expected);

        let expected = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "annotations": {"org.opencontainers.image.version": VERSION},
            "config": descriptor("config.v1+json", config),
            "layers": [descriptor("layer.v1.tar+gzip", layer)],
        });
        assert_eq!(parsed, expected);
        let mut manifest = descriptor("manifest.v1+json", manifest);
        manifest["platform"] = oci;
        manifests.push(manifest);
        if platform.name == "amd64" {
            let layers = [path(&parsed["layers"][0])];
            docker = json!([
                {"Config": path(&parsed["config"]), "RepoTags": [IMAGE], "Layers": layers}
            ]);
        }
    }
    // A fork must build the same bytes, so no repository is named.
    let expected = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "annotations": {
            "org.opencontainers.image.title": "pause",
            "org.opencontainers.image.version": VERSION,
            "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
            "org.opencontainers.image.description":
                "The first process of a pod: holds its namespaces, reaps its orphans, sleeps",
        },
        "manifests": manifests,
    });
    assert_eq!(found, expected);
    // An engine loads each entry of index.json as an image, under its full name.
    let mut image = descriptor("index.v1+json", index);
    image["annotations"] = json!({
        "io.containerd.image.name": IMAGE,
        "org.opencontainers.image.ref.name": IMAGE,
    });
    let expected = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [image],
    });
    assert_eq!(entries, expected);
    // docker's classic store takes amd64.
    assert_eq!(parse(&files["manifest.json"]), docker);
    let layout = json!({"imageLayoutVersion": "1.0.0"});
    assert_eq!(parse(&files["oci-layout"]), layout);
    paths.extend(["index.json", "manifest.json", "oci-layout"].map(str::to_owned));
    assert!(files.keys().all(|path| paths.contains(path)), "{paths:?}");
}

#[test]
fn skopeo_takes_it() {
    let nest = Nest::new();
    let packed = packed();
    let from = format!("oci-archive:{}", archive().display());
    let raw = output(nest.command("skopeo").args(["inspect", "--raw", &from]));
    let index = parse(&packed["index.json"])["manifests"][0].clone();
    assert_eq!(raw.as_bytes(), packed[&path(&index)]);
    for platform in &PLATFORMS {
        let mut skopeo = nest.command("skopeo");
        skopeo.args(["--override-arch", platform.arch]);
        if let Some(variant) = platform.variant() {
            skopeo.args(["--override-variant", variant]);
        }
        let config = output(skopeo.args(["inspect", "--config", "--raw", &from]));
        let config = parse(config.as_bytes());
        assert_eq!(config["architecture"], platform.arch);
        assert_eq!(config["variant"].as_str(), platform.variant());
    }
    let folder = tempfile::tempdir().unwrap();
    let to = format!("dir:{}", folder.path().display());
    output(nest.command("skopeo").args(["copy", "--all", &from, &to]));
    for (path, content) in &packed {
        // A manifest gets another name.
        let copied = folder.path().join(path.rsplit('/').next().unwrap());
        if path.starts_with("blobs/") && !content.starts_with(b"{\"annotations") {
            assert_eq!(fs::read(copied).unwrap(), *content);
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
    let packed = packed();
    let containerd = Containerd::start();
    println!("{}", containerd.import());
    // docs/nodes.md pins it like this, so that kubelets keep it.
    let pinned = "io.cri-containerd.pinned=pinned";
    containerd.ctr(&["--namespace=k8s.io", "images", "label", IMAGE, pinned]);
    let images = containerd.ctr(&["--namespace=k8s.io", "images", "list"]);
    println!("{images}");
    let mut lines = images.lines();
    let image = lines.find(|line| line.starts_with(IMAGE)).expect(IMAGE);
    let entries = parse(&packed["index.json"]);
    let digest = entries["manifests"][0]["digest"].as_str().unwrap();
    assert!(image.contains(digest), "{image}");
    for platform in &PLATFORMS {
        let variant = platform.variant().map(|it| format!("/{it}"));
        let name = format!("linux/{}{}", platform.arch, variant.unwrap_or_default());
        assert!(image.contains(&name), "{name}: {image}");
    }
    assert!(image.contains(pinned), "{image}");
    let stored = containerd.ctr(&["--namespace=k8s.io", "content", "list", "--quiet"]);
    for file in packed.keys() {
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
