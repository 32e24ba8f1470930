//! What engines read in target/pause.tar. tests/pod.rs runs it in each engine, and pause-image/digests pins its
//! bytes.

use engines::{
    engine::{IMAGE, archive, sha256},
    program::{PLATFORMS, Program},
    project,
};
use flate2::read::GzDecoder;
use pause_image::read::Image;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, io::Read};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The limit of a platform's manifest, config and layer, which an engine pulls, in bytes.
const GOAL: u64 = 1280;

/// The files of a tar archive by path. All have that mode, and are root's and of 1970.
fn files_of(tar: &[u8], mode: u32) -> BTreeMap<String, Vec<u8>> {
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
    entries.collect()
}

#[test]
fn has_each_platform_and_no_other_file() {
    let packed = fs::read(archive()).unwrap();
    // Each blob has its digest, and is part of the image.
    Image::read(&packed).unwrap();
    let packed = files_of(&packed, 0o444);
    let blob = |it: &Value| {
        &*packed[&format!("blobs/{}", it["digest"].as_str().unwrap().replace(':', "/"))]
    };
    let parse = |content: &[u8]| -> Value { serde_json::from_slice(content).unwrap() };
    // An engine loads each entry of index.json as an image, under its full name.
    let entry = &parse(&packed["index.json"])["manifests"][0];
    let names =
        json!({"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": IMAGE});
    assert_eq!(entry["annotations"], names);
    let index = parse(blob(entry));
    // A fork must build the same bytes, so no repository is named.
    let annotations = json!({
        "org.opencontainers.image.title": "pause",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        "org.opencontainers.image.description":
            "The first process of a pod: holds its namespaces, reaps its orphans, sleeps",
    });
    assert_eq!(index["annotations"], annotations);

    let changelog = fs::read_to_string(project().join("CHANGELOG.md")).unwrap();
    let heading = format!("## [{VERSION}] - ");
    let day = changelog.lines().find_map(|it| it.strip_prefix(&heading));
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), PLATFORMS.len());
    for (platform, manifest) in PLATFORMS.iter().zip(manifests) {
        let mut config = json!({"architecture": platform.arch, "os": "linux"});
        if let Some(variant) = platform.variant() {
            config["variant"] = json!(variant);
        }
        assert_eq!(manifest["platform"], config);
        let parts = parse(blob(manifest));
        let layer = &parts["layers"][0];
        let mut unpacked = Vec::new();
        GzDecoder::new(blob(layer))
            .read_to_end(&mut unpacked)
            .unwrap();
        let program = fs::read(Program::new("pause", platform.name).path).unwrap();
        assert!(files_of(&unpacked, 0o555) == BTreeMap::from([("pause".to_owned(), program)]));

        if let Some(day) = day {
            config["created"] = json!(format!("{day}T00:00:00Z"));
        }
        config["config"] =
            json!({"User": "65535:65535", "Env": ["PATH=/"], "Entrypoint": ["/pause"]});
        let id = format!("sha256:{}", sha256(&unpacked));
        config["rootfs"] = json!({"type": "layers", "diff_ids": [id]});
        assert_eq!(parse(blob(&parts["config"])), config);
        let pulled = [manifest, &parts["config"], layer].map(|it| it["size"].as_u64().unwrap());
        let pulled: u64 = pulled.iter().sum();
        assert!(pulled <= GOAL, "{}: {pulled} bytes", platform.name);
    }
}
