//! SBOM and provenance say what is true, and the same each time.

use crate::{digest_of, failure, pause_image};
use pause_image::layout::sha256;
use sandbox::{built, output, project};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, process::Command};
use tempfile::TempDir;

fn sha256_of(file: &str) -> String {
    sha256(&fs::read(project().join(file)).expect("make builds it"))
}

/// The SBOM, the provenance and the referrers that are written next to a copy of the archive.
fn attest(change: impl FnOnce(&mut Command)) -> [Vec<u8>; 3] {
    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("pause.tar");
    fs::copy(built("pause.tar"), &archive).unwrap();
    let mut command = pause_image("attest");
    command.arg(&archive);
    change(&mut command);
    output(&mut command);
    let written = fs::read(&archive).unwrap();
    assert_eq!(sha256(&written), sha256_of("target/pause.tar"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    let names = ["cdx.json", "provenance.json", "referrers.tar"];
    names.map(|name| fs::read(archive.with_extension(name)).unwrap())
}

fn sbom(change: impl FnOnce(&mut Command)) -> Value {
    serde_json::from_slice(&attest(change)[0]).unwrap()
}

fn provenance(change: impl FnOnce(&mut Command)) -> Value {
    serde_json::from_slice(&attest(change)[1]).unwrap()
}

fn materials(provenance: &Value) -> &Vec<Value> {
    let materials = &provenance["predicate"]["buildDefinition"]["resolvedDependencies"];
    materials.as_array().unwrap()
}

#[test]
fn the_same_each_time() {
    let odd = [
        ("TZ", "Asia/Kathmandu"),
        ("LC_ALL", "POSIX"),
        ("USER", "nobody"),
    ];
    let odd = attest(|it| _ = it.envs(odd));
    assert!(attest(|_| ()) == odd);
}

#[test]
fn the_time_is_that_of_source_date_epoch() {
    let before = sbom(|_| ());
    assert_eq!(before["metadata"].get("timestamp"), None);
    let mut timed = sbom(|it| _ = it.env("SOURCE_DATE_EPOCH", "1700000000"));
    let metadata = timed["metadata"].as_object_mut().unwrap();
    let time = metadata.remove("timestamp").unwrap();
    assert_eq!(time, "2023-11-14T22:13:20Z");
    assert_eq!(timed, before);

    let mut wrong = pause_image("attest target/pause.tar");
    let said = failure(wrong.env("SOURCE_DATE_EPOCH", "now"));
    let told = "SOURCE_DATE_EPOCH is not a time: \"now\"";
    assert!(said.contains(told), "{said}");
}

#[test]
fn the_sbom_lists_the_programs_and_the_crates() {
    let sbom = sbom(|_| ());
    let format = (&sbom["bomFormat"], &sbom["specVersion"]);
    assert_eq!(format, (&json!("CycloneDX"), &json!("1.5")));
    let image = &sbom["metadata"]["component"];
    let purl = format!("pkg:oci/pause@sha256:{}", digest_of("index"));
    assert_eq!(image["purl"], purl);
    let components = sbom["components"].as_array().unwrap();
    let of_type = |kind: &'static str| components.iter().filter(move |it| it["type"] == kind);
    let files: Vec<&Value> = of_type("file")
        .map(|it| &it["hashes"][0]["content"])
        .collect();
    // One for each platform. Those for arm are the same.
    let archs = [
        "386", "amd64", "arm", "arm", "arm64", "ppc64le", "riscv64", "s390x",
    ];
    let programs = archs.map(|arch| sha256_of(&format!("target/pause/{arch}/pause")));
    assert_eq!(files, programs.each_ref());

    let mut tree = Command::new("cargo");
    tree.args(["tree", "--locked", "--package=pause", "--edges=normal"]);
    tree.args(["--prefix=none", "--format={p}"]);
    let tree = output(tree.current_dir(project()));
    let crates = tree.lines().skip(1).map(|line| {
        let mut words = line.split(' ').map(|word| word.trim_start_matches('v'));
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        format!("pkg:cargo/{name}@{version}")
    });
    let toolchain = fs::read_to_string(project().join("rust-toolchain.toml")).unwrap();
    let version = toolchain.split('"').nth(1).unwrap();
    let core = format!("pkg:generic/rust-core@{version}");
    let expected: BTreeSet<String> = crates.chain([core]).collect();
    let libraries = of_type("library").map(|it| it["purl"].as_str().unwrap().to_owned());
    assert_eq!(libraries.collect::<BTreeSet<_>>(), expected);

    let lock = fs::read_to_string(project().join("Cargo.lock")).unwrap();
    for library in of_type("library").filter(|it| it["name"] != "core") {
        let package = format!(
            "name = {}\nversion = {}\n",
            library["name"], library["version"]
        );
        let (_, rest) = lock.split_once(&package).expect(&package);
        let (_, checksum) = rest.split_once("checksum = ").unwrap();
        let content = library["hashes"][0]["content"].to_string();
        assert!(checksum.starts_with(&content), "{library}");
        assert!(library["licenses"][0]["expression"].is_string());
    }
    // Dependencies refer to components.
    let references = components.iter().chain([image]).map(|it| &it["bom-ref"]);
    let references: Vec<&Value> = references.collect();
    for dependency in sbom["dependencies"].as_array().unwrap() {
        let on = dependency["dependsOn"].as_array().into_iter().flatten();
        for it in on.chain([&dependency["ref"]]) {
            assert!(references.contains(&it), "{dependency}");
        }
    }
}

#[test]
fn the_provenance_names_image_lock_and_compiler() {
    let provenance = provenance(|_| ());
    assert_eq!(provenance["_type"], "https://in-toto.io/Statement/v1");
    let kind = &provenance["predicateType"];
    assert_eq!(kind, "https://slsa.dev/provenance/v1");
    let subjects = provenance["subject"].as_array().unwrap();
    assert_eq!(subjects[0]["digest"]["sha256"], digest_of("index"));
    assert_eq!(subjects.len(), 1 + 8);
    let mut materials = materials(&provenance).iter();
    let lock = materials.find(|it| it["name"] == "Cargo.lock").unwrap();
    assert_eq!(lock["digest"]["sha256"], sha256_of("Cargo.lock"));
    let rustc = output(Command::new("rustc").arg("-vV").current_dir(project()));
    let mut rustc = rustc.lines();
    let commit = rustc.find_map(|line| line.strip_prefix("commit-hash: "));
    let commit = commit.unwrap();
    assert!(materials.any(|it| it["digest"]["gitCommit"] == commit));
}

#[test]
fn the_provenance_names_source_and_builder_only_if_given() {
    let (source, builder) = ["https://a.example/pause", "https://b.example/builder"].into();
    let named = provenance(|it| _ = it.args(["--source", source, "--builder", builder]));
    let uri = &materials(&named)[0]["uri"];
    assert_eq!(uri, &format!("git+{source}"));
    assert_eq!(named["predicate"]["runDetails"]["builder"]["id"], builder);

    let unnamed = provenance(|_| ());
    assert!(!unnamed.to_string().contains(".example"));
    let builder = &unnamed["predicate"]["runDetails"]["builder"]["id"];
    assert_eq!(builder, "pkg:generic/pause#Makefile");
}

/// Names a commit only if every file is that of the commit.
#[test]
fn the_provenance_names_the_commit_of_an_unchanged_tree() {
    let folder = TempDir::new().unwrap();
    let copy = format!(
        "tar --create --exclude=./target --exclude=./.git . | tar --extract --directory '{}'",
        folder.path().display()
    );
    let mut bash = Command::new("bash");
    output(bash.args(["-c", &copy]).current_dir(project()));
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]);
        output(git.args(arguments).current_dir(folder.path()))
    };
    let commit = || {
        let provenance = provenance(|it| _ = it.current_dir(folder.path()));
        materials(&provenance)[0]["digest"]["gitCommit"].clone()
    };
    assert_eq!(commit(), Value::Null);
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=All"]);
    assert_eq!(commit(), git(&["rev-parse", "HEAD"]).trim());
    fs::write(folder.path().join("linker.ld"), "").unwrap();
    assert_eq!(commit(), Value::Null);
}
