//! The SBOM, in CycloneDX 1.5, which scanners and registries read.

use anyhow::{Context, Result, ensure};
use oci_spec::image::{ANNOTATION_TITLE, ImageManifestBuilder, MediaType, SCHEMA_VERSION};
use pause_image::{
    layout::{Layout, index_of, owned},
    read::Image,
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

/// The SBOM's name.
pub const FILE: &str = "pause.cdx.json";

/// The SBOM of an image that was built from the project in the current directory. Its time is the image's.
///
/// # Errors
///
/// cargo or rustc fails, or there is no Cargo.lock.
pub fn of(image: &Image) -> Result<Value> {
    let version = env!("CARGO_PKG_VERSION");
    let (digest, license) = (image.index.digest(), env!("CARGO_PKG_LICENSE"));
    let mut container = component("container", "pause", "oci/pause", digest.as_ref(), license);
    container["version"] = json!(version);
    container["hashes"] = hashes(digest.digest());

    let crates = crates()?;
    let rustc = output(Command::new("rustc").arg("--version"))?;
    let rustc = rustc.split(' ').nth(1).context("rustc has no version")?;
    // The licence is that of its Cargo.toml.
    let (purl, license) = ("generic/rust-core", "MIT OR Apache-2.0");
    let core = component("library", "core", purl, rustc, license);
    let files = image.platforms.iter().map(|platform| {
        json!({
            "type": "file",
            "bom-ref": format!("linux/{}/pause", platform.name),
            "name": "/pause",
            "version": version,
            "hashes": hashes(&platform.program),
        })
    });
    let files: Vec<Value> = files.collect();

    let reference = |it: &Value| it["bom-ref"].clone();
    let depends = |from: &Value, on: &[Value]| {
        let on: Vec<Value> = on.iter().map(reference).collect();
        json!({"ref": reference(from), "dependsOn": on})
    };
    let (program, libraries) = (&crates[0], [&crates[1..], &[core]].concat());
    let mut dependencies = vec![depends(&container, &files), depends(program, &libraries)];
    dependencies.extend(files.iter().map(|file| depends(file, &crates[..1])));
    let mut metadata = json!({"component": container});
    if let Some(created) = image.platforms.iter().find_map(|it| it.created.as_ref()) {
        metadata["timestamp"] = json!(created);
    }
    let components = [&files, &crates[..1], &libraries].concat();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": metadata,
        "components": components,
        "dependencies": dependencies,
    }))
}

/// Writes an archive of the SBOM as an artifact that refers to the image (OCI image specification 1.1,
/// "Guidelines for Artifact Usage"): engines load each entry of an archive's index as an image. The one entry
/// here is an index of referrers, which a registry without the referrers API serves under the tag `sha256-…`,
/// the image's digest (distribution specification 1.1, "Listing Referrers").
///
/// # Errors
///
/// Those of the file system.
pub fn write_referrers(image: &Image, sbom: Vec<u8>, output: &Path) -> Result<()> {
    let kind = MediaType::Other("application/vnd.cyclonedx+json".to_owned());
    let title = owned([(ANNOTATION_TITLE, FILE)]);
    let mut layout = Layout::default();
    let mut subject = image.index.clone();
    subject.set_annotations(None);
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .artifact_type(kind.clone())
        .config(layout.add(MediaType::EmptyJSON, b"{}".to_vec())?)
        .layers([layout.add(kind.clone(), sbom)?])
        .subject(subject)
        .annotations(title.clone());
    let mut manifest = layout.add_json(MediaType::ImageManifest, &manifest.build()?)?;
    manifest.set_artifact_type(Some(kind));
    manifest.set_annotations(Some(title));
    let referrers = index_of(vec![manifest]).build()?;
    let referrers = layout.add_json(MediaType::ImageIndex, &referrers)?;
    layout.write(&referrers, output)
}

/// The program, and the crates that it contains.
fn crates() -> Result<Vec<Value>> {
    let mut tree = Command::new("cargo");
    tree.args(["tree", "--locked", "--package=pause", "--edges=normal"]);
    // This platform has all crates. Some platforms have fewer: their programs need none for system calls.
    tree.arg("--target=x86_64-unknown-linux-gnu");
    let tree = output(tree.args(["--prefix=none", "--format={p} |{l}"]))?;
    let lock = fs::read_to_string("Cargo.lock").context("cannot read Cargo.lock")?;
    let crates = tree.lines().map(|line| -> Option<Value> {
        let (package, license) = line.split_once('|')?;
        let (name, version) = package.split_once(" v")?;
        let version = version.split(' ').next()?;
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let entry = lock.split_once(&entry)?.1.split("\n\n").next()?;
        let mut part = component("library", name, &format!("cargo/{name}"), version, license);
        match entry.split_once("checksum = \"") {
            Some((_, rest)) => part["hashes"] = hashes(rest.split('"').next()?),
            None => part["type"] = json!("application"),
        }
        Some(part)
    });
    let crates: Option<_> = crates.collect();
    crates.with_context(|| format!("cargo tree and Cargo.lock do not fit: {tree:?}"))
}

fn component(kind: &str, name: &str, path: &str, version: &str, license: &str) -> Value {
    let purl = format!("pkg:{path}@{version}");
    json!({
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{"expression": license}],
    })
}

fn hashes(sha256: &str) -> Value {
    json!([{"alg": "SHA-256", "content": sha256}])
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let ended = command.output();
    let ended = ended.with_context(|| format!("cannot run {program:?}"))?;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{program:?} fails: {stderr}");
    Ok(String::from_utf8(ended.stdout)?)
}
