//! Users can check the image themselves: everyone builds the same bytes, and `make verify` compares an image
//! in a registry with them.

use engines::{
    End, built,
    engine::{Nest, Registry, archive, sha256},
    forget_make, make, output, project, said, sandbox,
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, process::Command};

/// How many lines of pause-image/digests have such a name.
fn digests(are_meant: fn(&str) -> bool) -> usize {
    let digests = fs::read_to_string(project().join("pause-image/digests")).unwrap();
    let names = digests.lines().filter_map(|line| line.split_once("  "));
    names.filter(|(_, name)| are_meant(name)).count()
}

/// Builds in another folder, as another user, with another umask, time zone and locale. The environment has
/// flags, profiles and a toolchain that would change every byte.
#[test]
fn the_same_bytes_come_out_anywhere_and_of_a_registry() {
    let nest = Nest::new();
    Registry::start(&nest).push();

    let folder = nest.path("another folder, with spaces");
    fs::create_dir(&folder).unwrap();
    // Without a time limit: a slow machine may take longer than two minutes.
    let mut odd = nest.daemon("unshare");
    odd.args(["--user", "--map-user=1000", "--map-group=1000"]);
    odd.args(["bash", "-c", "umask 077; exec \"$@\"", "bash"]);
    odd.arg("make");
    let mut verify = make(odd);
    verify.env("TMPDIR", &folder);
    for (name, value) in [
        ("TZ", "Asia/Kathmandu"),
        ("LC_ALL", "POSIX"),
        ("SOURCE_DATE_EPOCH", "86400"),
        ("RUSTFLAGS", "-C opt-level=3"),
        ("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=3"),
        ("CARGO_BUILD_TARGET", "aarch64-unknown-linux-gnu"),
        ("CARGO_PROFILE_PAUSE_OPT_LEVEL", "3"),
        ("RUSTUP_TOOLCHAIN", "none-of-that-name"),
        ("RUSTC_WRAPPER", "/nowhere/wrapper"),
    ] {
        verify.env(name, value);
    }
    let image = format!("IMAGE={}", Registry::IMAGE);
    verify.args(["verify", &image, "PULL_FLAGS=--src-tls-verify=false"]);
    let said = output(&mut verify);
    println!("{said}");
    let (all, of_image) = (digests(|_| true), digests(|it| !it.starts_with("target/")));
    for (what, count) in [
        ("a fresh build", all),
        ("target", all),
        (Registry::IMAGE, of_image),
    ] {
        let line = format!("{what}: all {count} digests match pause-image/digests");
        assert!(said.lines().any(|it| it == line), "{line}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// An image with one of the platforms is a different image.
#[test]
fn another_image_of_a_registry_is_none_of_ours() {
    let nest = Nest::new();
    Registry::start(&nest);
    let from = format!("oci-archive:{}", archive().display());
    let image = "localhost:5000/team/one:0.1.0";
    let mut copy = nest.command("skopeo");
    let copy = copy.args(["copy", "--dest-tls-verify=false"]);
    output(copy.args([&from, &format!("docker://{image}")]));

    let mut compare = nest.command("env");
    compare.arg(format!("--chdir={}", project().display()));
    compare.args(["scripts/compare", "one", "^target/", image]);
    compare.arg("--src-tls-verify=false");
    let End { status, stderr, .. } = sandbox::run(&mut compare);
    assert_eq!(status, Ok(1), "{stderr}");
    let why = "not an image of several platforms";
    assert!(stderr.contains(why), "{stderr}");
}

/// All dependencies and build dependencies, for either crate for system calls.
#[test]
fn the_program_is_made_of_two_crates() {
    for features in ["syscalls", "sc"] {
        let mut tree = Command::new("cargo");
        tree.args(["tree", "--locked", "--package=pause", "--target=all"]);
        tree.args(["--edges=normal,build", "--prefix=none", "--format={p}"]);
        tree.args(["--no-default-features", "--features", features]);
        let tree = output(tree.current_dir(project()));
        let crates = tree.lines().map(|line| line.split(' ').next().unwrap());
        let crates: BTreeSet<&str> = crates.collect();
        assert_eq!(crates, ["pause", "linux-raw-sys", features].into());
    }
}

/// As docs/verify.md says: with vendored crates and an empty CARGO_HOME.
#[test]
fn the_same_programs_come_of_vendored_crates_without_a_network() {
    let nest = Nest::new();
    let folder = nest.path("vendored");
    let script = format!(
        "set -e; mkdir {folder}
        tar --directory {} --create --exclude=./target --exclude=./.git . | tar --extract --directory {folder}
        cd {folder}; mkdir .cargo
        cargo vendor --locked --offline > .cargo/config.toml
        export CARGO_HOME={folder}/home; mkdir $CARGO_HOME
        exec \"$@\"",
        project().display()
    );
    let mut build = nest.daemon("bash");
    build.args(["-c", &script, "bash", "make", "build", "build-sc"]);
    forget_make(&mut build);
    output(&mut build);
    let mut compare = Command::new("scripts/compare");
    compare.args(["vendored", "^target/pause.tar|^[^t]", &folder]);
    compare.current_dir(project());
    let said = output(&mut compare);
    let count = digests(|name| name.ends_with("/pause"));
    let are_the_same = format!("vendored: all {count} digests match ");
    assert!(said.starts_with(&are_the_same), "{said}");
}

/// The manifest that the registry has for a tag or digest of the image's repository.
fn manifest(nest: &Nest, reference: &str) -> Value {
    let name = format!("docker://localhost:5000/team/pause{reference}");
    let mut inspect = nest.command("skopeo");
    let inspect = inspect.args(["inspect", "--raw", "--tls-verify=false", &name]);
    serde_json::from_str(&output(inspect)).unwrap()
}

/// The image's digest in the registry.
fn digest(nest: &Nest) -> String {
    let name = format!("docker://{}", Registry::IMAGE);
    let format = "--format={{.Digest}}";
    let mut inspect = nest.command("skopeo");
    said(inspect.args(["inspect", "--tls-verify=false", format, &name]))
}

/// docker-registry has no referrers API, so the referrers are listed under a tag. (skopeo 1.9 omits their
/// types there; a registry with the API takes them from the manifests.)
#[test]
fn sbom_and_provenance_refer_to_the_image() {
    let nest = Nest::new();
    Registry::start(&nest).push();
    let image = digest(&nest);
    let listed = manifest(&nest, &format!(":{}", image.replace(':', "-")));
    let listed = listed["manifests"].as_array().unwrap();
    let documents = [
        ("application/vnd.cyclonedx+json", "pause.cdx.json"),
        ("application/vnd.in-toto+json", "pause.provenance.json"),
    ];
    assert_eq!(listed.len(), documents.len());
    for (referrer, (kind, file)) in listed.iter().zip(documents) {
        let digest = referrer["digest"].as_str().unwrap();
        let artifact = manifest(&nest, &format!("@{digest}"));
        assert_eq!(artifact["artifactType"], kind);
        assert_eq!(artifact["subject"]["digest"], image);
        let content = fs::read(built(file)).unwrap();
        let digest = format!("sha256:{}", sha256(&content));
        assert_eq!(artifact["layers"][0]["digest"], digest);
    }
}

/// As docs/verify.md says, but without a transparency log, which needs a network.
#[test]
#[ignore = "wants a cosign of another release: make test-cosign"]
fn cosign_signs_and_verifies() {
    let nest = Nest::new();
    Registry::start(&nest).push();
    let cosign = |arguments: &[&str]| {
        let mut cosign = nest.command(built("cosign/cosign").to_str().unwrap());
        cosign.env("HOME", nest.folder.path());
        sandbox::run(cosign.args(arguments).env("COSIGN_PASSWORD", ""))
    };
    let succeeds = |arguments: &[&str]| {
        let End { status, stdout, .. } = &cosign(arguments);
        assert_eq!(*status, Ok(0), "{arguments:?}");
        stdout.clone()
    };
    let prefix = |name| format!("--output-key-prefix={}", nest.path(name));
    succeeds(&["generate-key-pair", &prefix("cosign")]);
    let digest = digest(&nest);
    let image = format!("localhost:5000/team/pause@{digest}");
    let provenance = fs::read(built("pause.provenance.json")).unwrap();
    let provenance: Value = serde_json::from_slice(&provenance).unwrap();
    let predicate = nest.path("predicate.json");
    fs::write(&predicate, provenance["predicate"].to_string()).unwrap();
    let sbom = built("pause.cdx.json");
    let documents = [
        ("cyclonedx", sbom.to_str().unwrap()),
        ("slsaprovenance1", &predicate),
    ];

    let [public, private] =
        ["cosign.pub", "cosign.key"].map(|key| format!("--key={}", nest.path(key)));
    let insecure = ["--insecure-ignore-tlog", "--allow-insecure-registry"];
    let verify = [&[&*public][..], &insecure].concat();
    let verify_signature = [&["verify"][..], &verify, &[&image]].concat();
    // Before it is signed, verification fails.
    assert_ne!(cosign(&verify_signature).status, Ok(0));
    let insecure = ["--tlog-upload=false", "--allow-insecure-registry"];
    let sign = [&["--yes", &private][..], &insecure].concat();
    succeeds(&[&["sign"][..], &sign, &[&image]].concat());
    assert!(succeeds(&verify_signature).contains(&digest));
    for (kind, file) in documents {
        let kind = format!("--type={kind}");
        let verify = [&["verify-attestation", &kind][..], &verify, &[&image]].concat();
        assert_ne!(cosign(&verify).status, Ok(0));
        let file = format!("--predicate={file}");
        succeeds(&[&["attest", &kind, &file][..], &sign, &[&image]].concat());
        assert!(succeeds(&verify).contains("application/vnd.in-toto+json"));
    }
    // Another key verifies nothing.
    succeeds(&["generate-key-pair", &prefix("other")]);
    let other = format!("--key={}", nest.path("other.pub"));
    let verify = [&["verify", &other][..], &verify[1..], &[&image]].concat();
    assert_ne!(cosign(&verify).status, Ok(0));
}
