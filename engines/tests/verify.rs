//! Users can check the image themselves: everyone builds the same bytes, and `make verify` compares them with
//! an archive or an image in a registry, and names what differs.

use crate::release::Checkout;
use engines::{
    built,
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
    let fails = |arguments: &[&str], lines: &[&str]| {
        let end = checkout.run("scripts/verify", arguments);
        assert_eq!(end.status, Ok(1), "{}", end.stderr);
        let (found, last) = end.stderr.trim_end().rsplit_once('\n').unwrap();
        let found: Vec<&str> = found.lines().collect();
        assert_eq!(found, lines);
        last.to_owned()
    };
    let succeeds = |arguments: &[&str]| {
        let end = checkout.run("scripts/verify", arguments);
        assert_eq!(end.status, Ok(0), "{}", end.stderr);
    };
    let digests = || fs::read(checkout.path("pause-image/digests")).unwrap();
    let flip = || {
        let program = checkout.path("target/pause/s390x/pause");
        let mut content = fs::read(&program).unwrap();
        content[300] ^= 1;
        fs::write(program, content).unwrap();
    };

    let program = "target/pause-sc/riscv64/pause";
    let content = fs::read(checkout.path(program)).unwrap();
    fs::remove_file(checkout.path(program)).unwrap();
    flip();
    let last = fails(
        &[],
        &[
            "pause: a new build: target/pause/s390x/pause differs",
            "pause: a new build: target/pause-sc/riscv64/pause is missing",
            "pause: target: target/pause/s390x/pause differs",
        ],
    );
    assert!(last.ends_with("if you meant to change the bytes, run: make digests"));
    fs::write(checkout.path(program), content).unwrap();
    let before = digests();
    succeeds(&["--write"]);
    assert!(digests() != before);
    succeeds(&[]);
    flip();
    succeeds(&["--write"]);
    assert!(digests() == before);

    succeeds(&["target/pause.tar"]);
    let mut pack = Command::new(built("debug/pause-image"));
    pack.args([
        "pack",
        "--image=localhost/pause:1",
        "amd64=target/pause/amd64/pause",
        "--output",
    ]);
    let packed = output(pack.arg(checkout.path("one.tar")).current_dir(project()));
    let digest = packed.lines().find(|it| it.starts_with("sha256:")).unwrap();
    fails(
        &["one.tar"],
        &[&format!("pause: one.tar: the image differs: {digest}")],
    );
    let why = "pause-image: /dev/null: the archive lacks the list of images (index.json)";
    let last = fails(&["/dev/null"], &[why]);
    assert_eq!(last, "pause: /dev/null: not the image of pause");
    let end = checkout.run("scripts/verify", &["/nowhere"]);
    let why = "pause: /nowhere: not a file, and skopeo cannot pull it\n";
    assert!(end.stderr.ends_with(why), "{}", end.stderr);
    fs::write(checkout.fails(), "").unwrap();
    fails(&[], &["stub: fails"]);
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
    let copy = nest.path("vendored");
    let script = format!(
        "set -eo pipefail; mkdir {copy}
        tar --directory {} --create --exclude=./target --exclude=./.git . | tar --extract --directory {copy}
        cd {copy}; mkdir .cargo
        cargo vendor --locked --offline > .cargo/config.toml
        export CARGO_HOME={copy}/home; mkdir $CARGO_HOME
        make build build-sc
        grep /pause$ pause-image/digests | sha256sum --check --strict",
        project().display()
    );
    let mut build = nest.daemon("bash");
    build.args(["-c", &script]);
    forget_make(&mut build);
    let printed = output(&mut build);
    assert_eq!(printed.matches(": OK\n").count(), 7 + 3, "{printed}");
}
