//! A distribution's own toolchain builds the same bytes, without rustup and without a network. `make
//! test-packager` runs this: the toolchain takes a root file system of its own.

use engines::{built, engine::Nest, output, program::Program, project};
use std::{fs, process::Command};

/// Builds the program on a machine of its own architecture, emulated if need be, and compares the bytes.
fn builds_the_same_bytes(arch: &'static str) {
    let program = Program::new("pause", arch);
    let nest = match program.platform.is_native() {
        true => Nest::new(),
        false => Nest::with_emulator(program.platform),
    };
    // As docs/verify.md says.
    let copy = nest.path("project");
    let script = r#"mkdir -p "$0/.cargo"
        tar --create --exclude=./target --exclude=./.git . | tar --extract --directory "$0"
        cd "$0"
        cargo vendor --locked > .cargo/config.toml"#;
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script, &copy]);
    output(bash.current_dir(project()));

    let root = built(&format!("releases/rust-{arch}"));
    let root = root.to_str().unwrap();
    let at = |folder: &str| format!("{root}/{folder}");
    fs::create_dir_all(at("project")).unwrap();
    nest.mount(&["--bind", &copy, &at("project")]);
    nest.mount(&["--rbind", "/dev", &at("dev")]);
    nest.mount(&["--types=proc", "proc", &at("proc")]);
    let file = format!("target/pause/{arch}/pause");
    let mut make = nest.daemon("chroot");
    make.args([root, "env", "-i", "PATH=/usr/bin:/bin", "HOME=/root"]);
    make.args(["make", "--directory=/project", &file]);
    println!("{}", output(&mut make));
    let made = fs::read(format!("{copy}/{file}")).unwrap();
    let is_same = made == fs::read(program.path).unwrap();
    assert!(is_same, "{arch}: other bytes than `make` built here");
    let rustc = output(nest.daemon("chroot").args([root, "rustc", "--version"]));
    println!("{arch}: {} bytes, by {rustc}", made.len());
}

#[test]
#[ignore = "takes a root file system of Debian's"]
fn on_amd64() {
    builds_the_same_bytes("amd64");
}

#[test]
#[ignore = "takes a root file system of Debian's"]
fn on_arm64() {
    builds_the_same_bytes("arm64");
}
