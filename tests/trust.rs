//! Whoever runs the image can check it alone: the same bytes come out anywhere, and an image in a
//! registry is compared with them.

use std::fs;
use tests::{
    built,
    engine::{Nest, Registry, archive},
    make, output, project,
    sandbox::{self, End},
};

/// Builds in another folder, as another user, with another umask, time zone and locale, and with
/// flags, profiles and toolchains in the environment that would change every byte.
#[test]
fn the_same_bytes_come_out_anywhere_and_of_a_registry() {
    let nest = Nest::new();
    Registry::start(&nest, &nest.path("registry")).push();

    let folder = nest.path("another folder, with spaces");
    fs::create_dir(&folder).unwrap();
    // Two minutes may not do on a slow machine.
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
    for line in [
        "a fresh build: 14 digests are those of trust/digests",
        "target: 14 digests are those of trust/digests",
        &format!("{}: 9 digests are those of trust/digests", Registry::IMAGE),
    ] {
        assert!(said.lines().any(|it| it == line), "{line}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// One platform of it is another image.
#[test]
fn another_image_of_a_registry_is_none_of_ours() {
    let nest = Nest::new();
    Registry::start(&nest, &nest.path("registry"));
    let from = format!("oci-archive:{}", archive().display());
    let image = "localhost:5000/team/one:0.1.0";
    let mut copy = nest.command("skopeo");
    let copy = copy.args(["copy", "--dest-tls-verify=false"]);
    output(copy.args([&from, &format!("docker://{image}")]));

    let mut verify = nest.command(built("cargo/debug/trust").to_str().unwrap());
    verify.args(["verify", "--digests"]);
    verify.arg(project().join("trust/digests"));
    verify.args(["--pull-flag=--src-tls-verify=false", image]);
    let End { status, stderr, .. } = sandbox::run(&mut verify);
    assert_eq!(status, Ok(1), "{stderr}");
    assert!(
        stderr.starts_with(&format!("trust: {image}: index differs: ")),
        "{stderr}"
    );
}
