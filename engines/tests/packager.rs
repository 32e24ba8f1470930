//! A distribution's own toolchain builds the same bytes, without rustup and without a network, and so does a
//! container. `make test-packager` runs this: each takes a root file system.

use engines::{
    built,
    engine::{Cli, Docker, Nest, archive},
    output,
    program::Program,
    project, said,
    story::Engine,
};
use std::{fs, process::Command};

/// Copies the project to a directory of the nest, with its crates, as docs/verify.md says. Returns its path.
pub fn vendored(nest: &Nest) -> String {
    let copy = nest.path("project");
    let script = r#"mkdir -p "$0/.cargo"
        tar --create --exclude=./target --exclude=./.git . | tar --extract --directory "$0"
        cd "$0"
        cargo vendor --locked > .cargo/config.toml"#;
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script, &copy]);
    output(bash.current_dir(project()));
    copy
}

/// Builds the program on a machine of its own architecture, emulated if need be, and compares the bytes.
fn builds_the_same_bytes(arch: &'static str) {
    let program = Program::new("pause", arch);
    let nest = match program.platform.is_native() {
        true => Nest::new(),
        false => Nest::with_emulator(program.platform),
    };
    let copy = vendored(&nest);
    let root = built(&format!("releases/rust-{arch}"));
    let root = root.to_str().unwrap();
    let at = |directory: &str| format!("{root}/{directory}");
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

/// The README's line for a Mac. Its image rust:1.95 is made here, of Debian 12 and this machine's toolchain, and
/// has no network.
#[test]
#[ignore = "takes a root file system of Debian's"]
fn in_a_container() {
    let docker = Docker::start();
    let copy = vendored(docker.nest());
    let mut rustc = Command::new("rustc");
    let sysroot = said(rustc.arg("--print=sysroot").current_dir(project()));
    let script = r#"toolchain=$(basename "$1")
        tar --create --directory="$0" . --directory="$(dirname "$1")" \
            --transform="s,^$toolchain/,opt/rust/," "$toolchain"/{bin,lib} |
            docker import --change='ENV PATH=/opt/rust/bin:/usr/bin:/bin' - rust:1.95"#;
    let mut import = docker.command_of("bash");
    import.args(["-euo", "pipefail", "-c", script]);
    output(import.arg(built("releases/container")).arg(sysroot));

    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let mut lines = readme.lines().filter_map(|it| it.strip_prefix("$ "));
    let line = lines.find(|it| it.starts_with("docker run --rm --volume "));
    let script = format!("cd {copy} && {}", line.unwrap());
    let mut shell = docker.command_of("timeout");
    shell.args(["600", "bash", "-c", &script]);
    println!("{}", output(&mut shell));
    let made = fs::read(format!("{copy}/target/pause.tar")).unwrap();
    let here = fs::read(archive()).unwrap();
    assert!(made == here, "another image than `make` packed here");
}
