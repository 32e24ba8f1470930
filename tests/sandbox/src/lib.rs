//! Runs a program as the first process of a PID namespace. For the program's tests, and for all that
//! look at processes.

pub mod cgroup;
mod process;
pub mod program;

pub use process::*;

use nix::libc;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// The project's root directory.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
}

/// Returns target/`path`, which `make` builds.
pub fn built(path: &str) -> PathBuf {
    let file = project().join("target").join(path);
    assert!(
        file.exists(),
        "{} is missing: run the tests with `make test`, which builds it",
        file.display()
    );
    file
}

/// The kernel's page size, in bytes.
pub fn page_size() -> u64 {
    // SAFETY: sysconf(3) takes no pointer.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// Runs a command, which must succeed, and returns its standard output.
pub fn output(command: &mut Command) -> String {
    let End {
        status,
        stdout,
        stderr,
    } = run(command);
    assert_eq!(status, Ok(0), "{command:?}\n{stdout}{stderr}");
    stdout
}

/// Runs a command, which must succeed, and returns its standard output without trailing white space.
pub fn printed(command: &mut Command) -> String {
    output(command).trim_end().to_owned()
}

/// Writes an executable script.
pub fn write_script(path: impl AsRef<Path>, text: &str) {
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Turns `command`, which ends in `make`, into a make of the project that inherits nothing from the
/// make that runs the tests.
pub fn make(mut command: Command) -> Command {
    command.arg("--directory").arg(project());
    forget_make(&mut command);
    command
}

/// Removes the variables that a make which runs the tests hands down.
pub fn forget_make(command: &mut Command) {
    for variable in "MAKEFLAGS MAKEOVERRIDES MAKELEVEL ARCHS IMAGE REGISTRY".split(' ') {
        command.env_remove(variable);
    }
}

/// Decodes a command's output.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("output is UTF-8")
}

/// How many seconds [`wait_until`] waits: long, so that only a hang fails, not a slow machine.
pub static PATIENCE: AtomicU64 = AtomicU64::new(30);

/// Waits until `happened`; panics with "timed out waiting until `what`" after [`PATIENCE`].
pub fn wait_until(what: &str, happened: impl FnMut() -> bool) {
    let patience = PATIENCE.load(Ordering::Relaxed);
    wait_for(Duration::from_secs(patience), what, happened);
}

/// Waits until `happened`, for `patience` at most.
pub fn wait_for(patience: Duration, what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < patience, "timed out waiting until {what}");
        sleep(Duration::from_millis(2));
    }
}
