//! target/pause.tar, byte for byte, made anew without the packer's library for OCI. tests/pod.rs runs it in each
//! engine.

use engines::{
    engine::{IMAGE, archive, sha256},
    program::{PLATFORMS, Program},
    project,
};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Read,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The limit of a platform's manifest, config and layer, which an engine pulls, in bytes.
const GOAL: u64 = 1280;

/// The files of a tar archive by path. All have that mode, and are root's and of 1970.
fn files_of(tar: impl Read, mode: u32) -> BTreeMap<String, Vec<u8>> {
    let mut tar = tar::Archive::new(tar);
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert!(header.entry_type().is_file());
        assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (mode, 0));
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, content)
    });
    let entries: Vec<_> = entries.collect();
    let is_sorted = entries.is_sorted_by(|one, next| one.0 < next.0);
    assert!(is_sorted, "an archive is not sorted, or has a path twice");
    entries.into_iter().collect()
}

/// A document as it is packed: without spaces, its keys sorted.
fn bytes_of(mut document: Value) -> Vec<u8> {
    document.sort_all_objects();
    document.to_string().into()
}

#[test]
fn has_each_platform_and_no_other_file() {
    let packed = files_of(File::open(archive()).unwrap(), 0o444);
    // By program, the layer, which is taken as it is compressed, and the layer's id.
    let layers = packed.values().filter(|blob| blob.starts_with(b"\x1f\x8b"));
    let layers = layers.map(|layer| {
        let mut unpacked = Vec::new();
        GzDecoder::new(&**layer).read_to_end(&mut unpacked).unwrap();
        let (path, program) = files_of(&*unpacked, 0o555).pop_first().unwrap();
        assert_eq!(path, "pause");
        (
            program,
            (layer.clone(), format!("sha256:{}", sha256(&unpacked))),
        )
    });
    let layers: HashMap<_, _> = layers.collect();
    let changelog = fs::read_to_string(project().join("CHANGELOG.md")).unwrap();
    let heading = format!("## [{VERSION}] - ");
    let day = changelog.lines().find_map(|it| it.strip_prefix(&heading));

    let mut expected = BTreeMap::new();
    let mut add = |kind: &str, content: Vec<u8>| {
        let digest = sha256(&content);
        let size = content.len();
        expected.insert(format!("blobs/sha256/{digest}"), content);
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
    };
    let mut manifests = Vec::new();
    let mut docker = Value::Null;
    for platform in &PLATFORMS {
        let program = fs::read(Program::new("pause", platform.name).path).unwrap();
        let (layer, id) = layers[&program].clone();
        let layer = add("layer.v1.tar+gzip", layer);
        let mut oci = json!({"architecture": platform.arch, "os": "linux"});
        if let Some(variant) = platform.variant() {
            oci["variant"] = json!(variant);
        }
        let mut config = oci.clone();
        if let Some(day) = day {
            config["created"] = json!(format!("{day}T00:00:00Z"));
        }
        config["config"] = json!({"User": "65535:65535", "Entrypoint": ["/pause"]});
        config["rootfs"] = json!({"type": "layers", "diff_ids": [id]});
        let config = add("config.v1+json", bytes_of(config));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "annotations": {"org.opencontainers.image.version": VERSION},
            "config": config,
            "layers": [layer],
        });
        let mut manifest = add("manifest.v1+json", bytes_of(manifest));
        let pulled = [&manifest, &config, &layer].map(|it| it["size"].as_u64().unwrap());
        let pulled: u64 = pulled.iter().sum();
        assert!(pulled <= GOAL, "{}: {pulled} bytes", platform.name);
        manifest["platform"] = oci;
        manifests.push(manifest);
        // docker's classic store takes amd64.
        if platform.name == "amd64" {
            let path =
                |it: &Value| format!("blobs/{}", it["digest"].as_str().unwrap().replace(':', "/"));
            docker = json!([
                {"Config": path(&config), "RepoTags": [IMAGE], "Layers": [path(&layer)]}
            ]);
        }
    }
    let index_of = |manifests: &[Value]| {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        })
    };
    let mut index = index_of(&manifests);
    // A fork must build the same bytes, so no repository is named.
    index["annotations"] = json!({
        "org.opencontainers.image.title": "pause",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        "org.opencontainers.image.description":
            "The first process of a pod: holds its namespaces, reaps its orphans, sleeps",
    });
    let mut image = add("index.v1+json", bytes_of(index));
    // An engine loads each entry of index.json as an image, under its full name.
    image["annotations"] = json!({
        "io.containerd.image.name": IMAGE,
        "org.opencontainers.image.ref.name": IMAGE,
    });
    for (path, content) in [
        ("index.json", index_of(&[image])),
        ("manifest.json", docker),
        ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
    ] {
        expected.insert(path.to_owned(), bytes_of(content));
    }
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&packed), names(&expected));
    for (path, content) in packed {
        assert!(
            content == expected[&path],
            "{path}: {}",
            String::from_utf8_lossy(&content)
        );
    }
}
