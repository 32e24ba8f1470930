//! What the tests share: the programs under test, sandboxes that they are the first process of,
//! and engines that run in namespaces of their own.

pub mod cgroup;
#[cfg(feature = "engines")]
pub mod engine;
#[cfg(feature = "engines")]
pub mod kind;
#[cfg(feature = "engines")]
pub mod kubelet;
pub mod machine;
#[cfg(feature = "engines")]
pub mod node;
pub mod program;
pub mod sandbox;
#[cfg(feature = "engines")]
pub mod story;
#[cfg(feature = "engines")]
pub mod sysctl;

use nix::libc;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread::sleep,
    time::{Duration, Instant},
};

/// The top folder of the project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A file that `make` builds, by its path below target/.
pub fn built(path: &str) -> PathBuf {
    let file = project().join("target").join(path);
    assert!(
        file.exists(),
        "{} is missing: run the tests with `make test`, which builds it",
        file.display()
    );
    file
}

/// Of the kernel, in bytes.
pub fn page_size() -> u64 {
    // SAFETY: it has no arguments that matter.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// Standard output of a command that must succeed.
pub fn output(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout
}

/// The same, without the last line's end.
pub fn said(command: &mut Command) -> String {
    output(command).trim_end().to_owned()
}

/// Writes a script that can be run.
pub fn write_script(path: impl AsRef<Path>, text: &str) {
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// make in the project, as if nobody's make had started the tests.
pub fn make(mut command: Command) -> Command {
    command.arg("--directory").arg(project());
    forget_make(&mut command);
    command
}

/// Has a command run as if nobody's make had started the tests.
pub fn forget_make(command: &mut Command) {
    for variable in [
        "MAKEFLAGS",
        "MAKEOVERRIDES",
        "MAKELEVEL",
        "ARCHS",
        "IMAGE",
        "REGISTRY",
    ] {
        command.env_remove(variable);
    }
}

/// Output as text.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("output is UTF-8")
}

/// Waits until `happened`, for 30 seconds at most: long enough for any machine, as a hang is a
/// failure and slowness is none. Who tests what is broken may have less PATIENCE, in seconds.
pub fn wait_until(what: &str, happened: impl FnMut() -> bool) {
    let patience = std::env::var("PATIENCE").map_or(30, |seconds| seconds.parse().unwrap());
    wait_for(Duration::from_secs(patience), what, happened);
}

/// The same, for as long as this: for what happens by a clock of its own.
pub fn wait_for(patience: Duration, what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < patience, "not {what}");
        sleep(Duration::from_millis(2));
    }
}
