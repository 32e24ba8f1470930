//! For the first process of a machine of its own, which a test boots: it makes itself at home, and
//! tells of tests in TAP, the Test Anything Protocol.

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

/// Makes a root file system that can be moved away from, with the kernel's own ones in it.
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

/// Loads the modules that lie in a folder, in the order of their names.
pub fn load_modules() {
    let modules = fs::read_dir("/modules").unwrap();
    let mut modules: Vec<PathBuf> = modules.map(|entry| entry.unwrap().path()).collect();
    modules.sort();
    for module in modules {
        let file = File::open(&module).unwrap();
        kmod::finit_module(file, c"", kmod::ModuleInitFlags::empty()).unwrap();
    }
}

/// Copies a folder but for some of what is in it.
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

/// Tells, test by test, and how many there were.
pub struct Tap {
    tests: usize,
}

impl Tap {
    /// Says on which kernel.
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

    /// Runs a test, which may panic, and says whether it went well.
    pub fn test(&mut self, name: &str, test: impl FnOnce()) {
        self.tests += 1;
        // What the test needs is dropped by the panic, so that the next one starts afresh.
        let end = panic::catch_unwind(panic::AssertUnwindSafe(test));
        let not = if end.is_ok() { "" } else { "not " };
        println!("{not}ok {} - {name}", self.tests);
    }

    /// Says how many there were.
    pub fn end(self) {
        println!("1..{}", self.tests);
    }
}
