//! For the init of a virtual machine that a test boots: it sets up a root file system, and reports tests
//! in TAP, the Test Anything Protocol.

use crate::{page_size, program::NATIVE_ARCH};
use nix::{
    kmod,
    mount::{MsFlags, mount},
    unistd::{chdir, chroot},
};
use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    panic,
    path::{Path, PathBuf},
};

/// Moves from the initramfs, which pivot_root(2) cannot leave, to a tmpfs with the kernel's file systems
/// mounted in it.
pub fn settle() {
    let new = Path::new("/new");
    let make = |kind: &str, at: &str| {
        let at = new.join(at);
        fs::create_dir_all(&at).unwrap();
        let options = None::<&str>;
        mount(Some(kind), &at, Some(kind), MsFlags::empty(), options).unwrap();
    };
    make("tmpfs", "");
    make("proc", "proc");
    make("sysfs", "sys");
    make("cgroup2", "sys/fs/cgroup");
    make("devtmpfs", "dev");
    make("devpts", "dev/pts");
    make("tmpfs", "dev/shm");
    make("tmpfs", "tmp");
    fs::set_permissions(new, fs::Permissions::from_mode(0o755)).unwrap();
    copy_files("/".as_ref(), new, &["dev", "init", "new", "root"]);
    chdir(new).unwrap();
    let none = None::<&str>;
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none).unwrap();
    chroot(".").unwrap();
    chdir("/").unwrap();
}

/// Loads the kernel modules in /modules, in the order of their names.
pub fn load_modules() {
    let modules = fs::read_dir("/modules").unwrap();
    let mut modules: Vec<PathBuf> = modules.map(|entry| entry.unwrap().path()).collect();
    modules.sort();
    for module in modules {
        let file = File::open(&module).unwrap();
        kmod::finit_module(file, c"", kmod::ModuleInitFlags::empty()).unwrap();
    }
}

/// Copies a folder, without the top-level entries named in `but`.
fn copy_files(from: &Path, to: &Path, but: &[&str]) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if but.iter().any(|it| entry.file_name() == *it) {
            continue;
        }
        if from.is_symlink() {
            symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy_files(&from, &to, &[]);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// A TAP report on standard output.
pub struct Tap {
    tests: usize,
}

impl Tap {
    /// Prints the header, with the kernel's version, architecture and page size.
    pub fn start() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let page = page_size();
        println!("TAP version 13");
        println!(
            "# Linux {}, {NATIVE_ARCH}, pages of {page} bytes",
            kernel.trim()
        );
        Self { tests: 0 }
    }

    /// Runs a test and prints its result: a panic is "not ok".
    pub fn test(&mut self, name: &str, test: impl FnOnce()) {
        self.tests += 1;
        // A panic drops the test's sandboxes, so the next test starts afresh.
        let end = panic::catch_unwind(panic::AssertUnwindSafe(test));
        let not = if end.is_ok() { "" } else { "not " };
        println!("{not}ok {} - {name}", self.tests);
    }

    /// Prints the plan: how many tests ran.
    pub fn end(self) {
        println!("1..{}", self.tests);
    }
}
