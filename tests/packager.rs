//! A distribution's packager makes the same bytes, by the distribution's own toolchain, without rustup and
//! without a network. `make test-packager` runs this, as such a toolchain takes a root file system of its
//! own.

use std::{fs, process::Command};
use tests::{built, engine::Nest, output, program::Program, project};

/// Builds the program for that architecture on a machine of that architecture, and compares.
fn builds_the_same_bytes(arch: &'static str) {
    let program = Program::new("pause", arch);
    let nest = match program.platform.is_native() {
        true => Nest::new(),
        false => Nest::with_emulator(program.platform),
    };
    // As docs/verify.md has it.
    let copy = nest.path("project");
    let script = "mkdir -p \"$0/.cargo\" && tar --create --exclude=./target --exclude=./.git . | tar --extract --directory \"$0\" \
                  && cd \"$0\" && cargo vendor --locked > .cargo/config.toml";
    let mut bash = Command::new("bash");
    output(
        bash.args(["-euo", "pipefail", "-c", script, &copy])
            .current_dir(project()),
    );

    let root = built(&format!("releases/rust-{arch}"));
    let root = root.to_str().unwrap();
    let at = |folder: &str| format!("{root}/{folder}");
    fs::create_dir_all(at("project")).unwrap();
    nest.mount(&["--bind", &copy, &at("project")]);
    nest.mount(&["--rbind", "/dev", &at("dev")]);
    nest.mount(&["--types=proc", "proc", &at("proc")]);
    let file = format!("target/pause/{arch}/pause");
    let mut make = nest.daemon("chroot");
    make.args([
        root,
        "env",
        "-i",
        "PATH=/usr/bin:/bin",
        "HOME=/root",
        "make",
    ]);
    println!("{}", output(make.args(["--directory=/project", &file])));
    let made = fs::read(format!("{copy}/{file}")).unwrap();
    assert!(
        made == fs::read(program.path).unwrap(),
        "{arch}: other bytes"
    );
    let mut rustc = nest.daemon("chroot");
    println!(
        "{arch}: {} bytes, by {}",
        made.len(),
        output(rustc.args([root, "rustc", "--version"]))
    );
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
