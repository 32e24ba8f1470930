//! What goes with the image says what is so, and the same each time.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};
use tempfile::TempDir;

const DOCUMENTS: [&str; 3] = [
    "pause.cdx.json",
    "pause.provenance.json",
    "pause.referrers.tar",
];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256_of(file: &str) -> String {
    sha256(&fs::read(project().join(file)).expect("make builds it"))
}

/// What is written beside a copy of the archive, in a project.
fn attest_in(project: &Path, environment: &[(&str, &str)]) -> BTreeMap<&'static str, Vec<u8>> {
    attest_with(project, environment, &[])
}

fn attest_with(
    project: &Path,
    environment: &[(&str, &str)],
    options: &[&str],
) -> BTreeMap<&'static str, Vec<u8>> {
    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("pause.tar");
    fs::copy(self::project().join("target/pause.tar"), &archive).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pause-image"));
    command.current_dir(project).env_remove("SOURCE_DATE_EPOCH");
    command.envs(environment.iter().copied());
    output(command.arg("attest").arg(&archive).args(options));
    assert_eq!(
        sha256(&fs::read(&archive).unwrap()),
        sha256_of("target/pause.tar")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    DOCUMENTS
        .map(|name| (name, fs::read(folder.path().join(name)).unwrap()))
        .into()
}

fn attest() -> BTreeMap<&'static str, Vec<u8>> {
    attest_in(project(), &[])
}

fn json(documents: &BTreeMap<&str, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&documents[name]).unwrap()
}

/// The digest of the index, as it was written down.
fn index() -> String {
    let digests = fs::read_to_string(project().join("image/digests")).unwrap();
    let line = digests
        .lines()
        .find(|line| line.ends_with("  index"))
        .unwrap();
    line.split(' ').next().unwrap().to_owned()
}

#[test]
fn the_same_each_time() {
    let odd = [
        ("TZ", "Asia/Kathmandu"),
        ("LC_ALL", "POSIX"),
        ("USER", "nobody"),
    ];
    assert!(attest() == attest_in(project(), &odd));
}

#[test]
fn a_time_is_only_what_source_date_epoch_tells() {
    let before = json(&attest(), "pause.cdx.json");
    assert_eq!(before["metadata"].get("timestamp"), None);
    let timed = attest_in(project(), &[("SOURCE_DATE_EPOCH", "1700000000")]);
    let mut timed = json(&timed, "pause.cdx.json");
    let metadata = timed["metadata"].as_object_mut().unwrap();
    let time = metadata.remove("timestamp").unwrap();
    assert_eq!(time, "2023-11-14T22:13:20Z");
    assert_eq!(timed, before);

    let mut command = Command::new(env!("CARGO_BIN_EXE_pause-image"));
    command
        .current_dir(project())
        .env("SOURCE_DATE_EPOCH", "now");
    let failed = command
        .args(["attest", "target/pause.tar"])
        .output()
        .unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("SOURCE_DATE_EPOCH is no time: \"now\""),
        "{said}"
    );
}

#[test]
fn the_sbom_has_the_files_and_the_crates_that_cargo_tells() {
    let sbom = json(&attest(), "pause.cdx.json");
    assert_eq!(
        (&sbom["bomFormat"], &sbom["specVersion"]),
        (&json!("CycloneDX"), &json!("1.5"))
    );
    let image = &sbom["metadata"]["component"];
    assert_eq!(image["purl"], format!("pkg:oci/pause@sha256:{}", index()));
    let components = sbom["components"].as_array().unwrap();
    let of_type = |kind: &'static str| {
        let components = components.clone().into_iter();
        components.filter(move |it| it["type"] == kind)
    };
    let files: Vec<Value> = of_type("file")
        .map(|it| it["hashes"][0]["content"].clone())
        .collect();
    // One for each platform, of which two have the same.
    let archs = [
        "386", "amd64", "arm", "arm", "arm64", "ppc64le", "riscv64", "s390x",
    ];
    let programs = archs.map(|arch| sha256_of(&format!("target/pause/{arch}/pause")));
    assert_eq!(files, programs);

    let mut tree = Command::new("cargo");
    tree.args([
        "tree",
        "--locked",
        "--package=pause",
        "--edges=normal",
        "--prefix=none",
    ]);
    let tree = output(tree.args(["--format={p}"]).current_dir(project()));
    let mut told: BTreeSet<String> = tree
        .lines()
        .skip(1)
        .map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            format!("pkg:cargo/{name}@{}", version.trim_start_matches('v'))
        })
        .collect();
    let toolchain = fs::read_to_string(project().join("rust-toolchain.toml")).unwrap();
    let version = toolchain.split('"').nth(1).unwrap();
    told.insert(format!("pkg:generic/rust-core@{version}"));
    let libraries: BTreeSet<String> = of_type("library")
        .map(|it| it["purl"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(libraries, told);

    let lock = fs::read_to_string(project().join("Cargo.lock")).unwrap();
    for library in of_type("library").filter(|it| it["name"] != "core") {
        let package = format!(
            "name = {}\nversion = {}\n",
            library["name"], library["version"]
        );
        let rest = &lock[lock.find(&package).expect(&package)..];
        let checksum = rest
            .split("checksum = ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        assert_eq!(library["hashes"][0]["content"].to_string(), checksum);
        assert!(library["licenses"][0]["expression"].is_string());
    }
    // Each thing that is named is there.
    let there: Vec<&Value> = components
        .iter()
        .chain([image])
        .map(|it| &it["bom-ref"])
        .collect();
    for dependency in sbom["dependencies"].as_array().unwrap() {
        assert!(there.contains(&&dependency["ref"]), "{dependency}");
        let on = dependency["dependsOn"].as_array();
        assert!(
            on.into_iter().flatten().all(|it| there.contains(&it)),
            "{dependency}"
        );
    }
}

#[test]
fn the_provenance_says_what_is_known() {
    let provenance = json(&attest(), "pause.provenance.json");
    assert_eq!(provenance["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        provenance["predicateType"],
        "https://slsa.dev/provenance/v1"
    );
    assert_eq!(provenance["subject"][0]["digest"]["sha256"], index());
    assert_eq!(provenance["subject"].as_array().unwrap().len(), 1 + 8);
    let materials = &provenance["predicate"]["buildDefinition"]["resolvedDependencies"];
    let materials = materials.as_array().unwrap();
    let lock = materials
        .iter()
        .find(|it| it["name"] == "Cargo.lock")
        .unwrap();
    assert_eq!(lock["digest"]["sha256"], sha256_of("Cargo.lock"));
    let rustc = output(Command::new("rustc").arg("-vV").current_dir(project()));
    let commit = rustc
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .unwrap();
    assert!(
        materials
            .iter()
            .any(|it| it["digest"]["gitCommit"] == commit)
    );
}

/// What nobody tells is not made up.
#[test]
fn the_provenance_names_the_source_and_the_builder_that_it_is_given() {
    let told = ["https://a.example/pause", "https://b.example/builder"];
    let options = ["--source", told[0], "--builder", told[1]];
    let named = json(
        &attest_with(project(), &[], &options),
        "pause.provenance.json",
    );
    let predicate = &named["predicate"];
    let source = &predicate["buildDefinition"]["resolvedDependencies"][0];
    assert_eq!(source["uri"], format!("git+{}", told[0]));
    assert_eq!(predicate["runDetails"]["builder"]["id"], told[1]);

    let unnamed = json(&attest(), "pause.provenance.json");
    assert!(!unnamed.to_string().contains(".example"));
    let builder = &unnamed["predicate"]["runDetails"]["builder"]["id"];
    assert_eq!(builder, "pkg:generic/pause#Makefile");
}

/// A commit is named where what is built is that commit's, and not where a file is another.
#[test]
fn the_provenance_names_a_commit_whose_files_are_there() {
    let folder = TempDir::new().unwrap();
    let copy = format!(
        "tar --create --exclude=./target --exclude=./.git . | tar --extract --directory '{}'",
        folder.path().display()
    );
    output(
        Command::new("bash")
            .args(["-c", &copy])
            .current_dir(project()),
    );
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]);
        output(git.args(arguments).current_dir(folder.path()))
    };
    let named = || {
        let provenance = json(&attest_in(folder.path(), &[]), "pause.provenance.json");
        let materials = &provenance["predicate"]["buildDefinition"]["resolvedDependencies"];
        materials[0]["digest"]["gitCommit"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(named(), None);
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=All"]);
    assert_eq!(named().as_deref(), Some(git(&["rev-parse", "HEAD"]).trim()));
    fs::write(folder.path().join("linker.ld"), "").unwrap();
    assert_eq!(named(), None);
}
