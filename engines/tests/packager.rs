//! A distribution's own toolchain builds the programs, without rustup and without a network, with `core` from
//! source for other platforms than its own; and a container builds the image. `make test-packager` runs this: each
//! takes a root file system.

use engines::{
    built,
    engine::{Cli, Docker, Nest, archive},
    output, printed,
    program::{Platform, Program},
    project,
    story::Engine,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where this machine's rustc is.
pub fn sysroot() -> PathBuf {
    let mut rustc = Command::new("rustc");
    printed(rustc.arg("--print=sysroot").current_dir(project())).into()
}

/// Copies the project to a directory of the nest, with its crates and those of the rustc in `sysroot`, as
/// docs/verify.md says. Returns its path.
pub fn vendored(nest: &Nest, sysroot: &Path) -> String {
    let copy = nest.path("project");
    let script = r#"mkdir -p "$0/.cargo"
        tar --create --exclude=./target --exclude=./.git . | tar --extract --directory "$0"
        cd "$0"
        ! [ -e "$1" ] || sync="--sync=$1"
        RUSTC_BOOTSTRAP=1 cargo vendor --locked ${sync-} > .cargo/config.toml"#;
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script, &copy]);
    bash.arg(sysroot.join("lib/rustlib/src/rust/library/Cargo.toml"));
    output(bash.current_dir(project()));
    copy
}

/// Builds programs on a machine of this architecture, emulated if need be, and compares the bytes.
fn builds_the_same_bytes(arch: &'static str, target: &str, same: &[&str]) {
    let platform = Platform::of(arch);
    let nest = match platform.is_native() {
        true => Nest::new(),
        false => Nest::with_emulator(platform),
    };
    let root = built(&format!("releases/rust-{arch}"));
    let copy = vendored(&nest, &root.join("usr"));
    let root = root.to_str().unwrap();
    let at = |directory: &str| format!("{root}/{directory}");
    fs::create_dir_all(at("project")).unwrap();
    nest.mount(&["--bind", &copy, &at("project")]);
    nest.mount(&["--rbind", "/dev", &at("dev")]);
    nest.mount(&["--types=proc", "proc", &at("proc")]);
    let mut make = nest.daemon("chroot");
    make.args([root, "env", "-i", "PATH=/usr/bin:/bin", "HOME=/root"]);
    make.args(["make", "--directory=/project", target]);
    println!("{}", output(&mut make));
    for name in same {
        let program = Program::new("pause", name);
        let made = format!("{copy}/target/pause/{}/pause", program.platform.arch);
        let is_same = fs::read(made).unwrap() == fs::read(program.path).unwrap();
        assert!(is_same, "{name}: other bytes than `make` built here");
    }
    let rustc = output(nest.daemon("chroot").args([root, "rustc", "--version"]));
    println!("{same:?}: the same bytes, by {rustc}");
}

#[test]
#[ignore = "takes a root file system of Debian's"]
fn on_amd64() {
    // rustc 1.97 makes another program for loong64.
    let same = [
        "386", "amd64", "arm/v7", "arm64", "ppc64le", "riscv64", "s390x",
    ];
    builds_the_same_bytes("amd64", "build", &same);
}

#[test]
#[ignore = "takes a root file system of Debian's"]
fn on_arm64() {
    builds_the_same_bytes("arm64", "target/pause/arm64/pause", &["arm64"]);
}

/// The README's line for a Mac. Its image rust:1.95 is made here, of Debian 12 and this machine's toolchain without
/// the targets that rustup added, and has no network: `core` is built from source for all platforms but its own.
/// `--init`, as a make that is the first process survives Ctrl-C, without its jobs, and goes round for ever.
#[test]
#[ignore = "takes a root file system of Debian's"]
fn in_a_container() {
    let docker = Docker::start();
    let sysroot = sysroot();
    let copy = vendored(docker.nest(), &sysroot);
    let script = r#"toolchain=$(basename "$1")
        cd "$(dirname "$1")"
        tar --create --directory="$0" . --directory="$PWD" --transform="s,^$toolchain/,opt/rust/," \
            "$toolchain"/{bin,lib/*.so*,lib/rustlib/{src,"$2"}} |
            docker import --change='ENV PATH=/opt/rust/bin:/usr/bin:/bin' - rust:1.95"#;
    let mut import = docker.command_of("bash");
    import.args(["-euo", "pipefail", "-c", script]);
    let host = printed(Command::new("rustc").args(["--print=host-tuple"]));
    import.arg(built("releases/container")).arg(sysroot);
    output(import.arg(host));

    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let mut lines = readme.lines().filter_map(|it| it.strip_prefix("$ "));
    let line = lines.find(|it| it.starts_with("docker run --rm --init --volume "));
    let script = format!("cd {copy} && {}", line.unwrap());
    let mut shell = docker.configure(docker.nest().daemon("timeout"));
    shell.args(["--kill-after=60", "1800", "bash", "-c", &script]);
    println!("{}", output(&mut shell));
    let made = fs::read(format!("{copy}/target/pause.tar")).unwrap();
    let here = fs::read(archive()).unwrap();
    assert!(made == here, "another image than `make` packed here");
}
