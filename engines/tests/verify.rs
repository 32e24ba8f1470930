//! Users can check the image themselves: everyone builds the same bytes, and `make verify` compares them with
//! an archive or an image in a registry, and names what differs.

use crate::{
    packager::{sysroot, vendored},
    release::Checkout,
};
use engines::{
    engine::{Nest, Registry},
    forget_make, make, output, project,
};
use std::{collections::BTreeSet, fs, process::Command};

/// Builds in another directory, as another user, with another umask, time zone and locale. The environment
/// has flags, profiles and a toolchain that would change every byte.
#[test]
fn the_same_bytes_come_out_anywhere_and_of_a_registry() {
    let nest = Nest::new();
    Registry::start(&nest).push();

    let directory = nest.path("another directory, with spaces");
    fs::create_dir(&directory).unwrap();
    // Without a time limit: a slow machine may take longer than two minutes.
    let mut odd = nest.daemon("unshare");
    odd.args(["--user", "--map-user=1000", "--map-group=1000"]);
    odd.args(["bash", "-c", "umask 077; exec \"$@\"", "bash"]);
    odd.arg("make");
    let mut verify = make(odd);
    verify.envs([
        ("TMPDIR", &*directory),
        ("TZ", "Asia/Kathmandu"),
        ("LC_ALL", "POSIX"),
        ("SOURCE_DATE_EPOCH", "86400"),
        ("RUSTFLAGS", "-C opt-level=3"),
        ("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=3"),
        ("CARGO_BUILD_TARGET", "aarch64-unknown-linux-gnu"),
        ("CARGO_PROFILE_PAUSE_OPT_LEVEL", "3"),
        ("RUSTUP_TOOLCHAIN", "none-of-that-name"),
        ("RUSTC_WRAPPER", "/nowhere/wrapper"),
    ]);
    let image = format!("IMAGE={}", Registry::IMAGE);
    verify.args(["verify", &image, "PULL_FLAGS=--src-tls-verify=false"]);
    let printed = output(&mut verify);
    println!("{printed}");
    for name in ["a new build", "target", Registry::IMAGE] {
        let line = format!("{name} matches pause-image/digests");
        assert!(printed.lines().any(|it| it == line), "{line}");
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn verify_names_what_differs() {
    let checkout = Checkout::new();
    let flip =
        "printf '\\0' | dd of=target/pause/s390x/pause seek=300 bs=1 conv=notrunc status=none";
    for (change, arguments, expected) in [
        (
            &*format!("cp -r pause-image/digests target/pause{{,-sc}} ..; rm target/pause-sc/arm64/pause; {flip}"),
            "",
            "pause: a new build: target/pause/s390x/pause differs
pause: a new build: target/pause-sc/arm64/pause is missing
pause: target: target/pause/s390x/pause differs
pause: not what pause-image/digests lists; if you meant to change the bytes, run: make digests",
        ),
        (
            "cp -r ../pause{,-sc} target
            target/debug/pause-image pack --image=localhost/pause:1 --output=one.tar arm64=target/pause/arm64/pause",
            "one.tar",
            "pause: one.tar: the image is another: sha256:",
        ),
        (
            "",
            "/dev/null",
            "pause-image: /dev/null: the archive lacks the list of images (index.json)
pause: /dev/null: not the image of pause",
        ),
        ("", "/nowhere", "pause: /nowhere: not a file, and skopeo cannot pull it"),
        ("touch ../fails", "", "stub: fails\npause: make fails in a copy of the project"),
    ] {
        checkout.succeeds(change);
        let stderr = checkout.fails(&format!("scripts/verify {arguments}"));
        assert!(stderr.contains(expected), "{stderr}");
    }
    // Other bytes are those to compare with once they are written.
    checkout.succeeds(&format!(
        "rm ../fails; {flip}; scripts/verify --write; scripts/verify target/pause.tar
        cmp --quiet pause-image/digests ../digests && exit 1
        cp -r ../pause target; scripts/verify --write; cmp pause-image/digests ../digests"
    ));
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
    let copy = vendored(&nest, &sysroot());
    let script = r#"cd "$0"; mkdir home; export CARGO_HOME=$0/home
        make build build-sc
        grep /pause$ pause-image/digests | sha256sum --check --strict"#;
    let mut build = nest.daemon("bash");
    build.args(["-eo", "pipefail", "-c", script, &copy]);
    forget_make(&mut build);
    let printed = output(&mut build);
    assert_eq!(printed.matches(": OK\n").count(), 8 + 3, "{printed}");
}
