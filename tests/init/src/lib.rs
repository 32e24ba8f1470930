//! For the init of a virtual machine that a test boots: it sets up a root file system, and reports tests
//! in TAP, the Test Anything Protocol.

use nix::{
    kmod,
    mount::{MsFlags, mount},
    unistd::{chdir, chroot},
};
use sandbox::{page_size, program::NATIVE_ARCH};
use std::{
    fs::{self, File},
    panic,
    path::PathBuf,
};

/// Mounts a new file system of that kind, with the options if there are any. Makes its mount point.
pub fn mount_new(kind: &str, at: &str, options: Option<&str>) {
    fs::create_dir_all(at).unwrap();
    mount(Some(kind), at, Some(kind), MsFlags::empty(), options).unwrap();
}

/// Mounts the kernel's file systems, and makes the root one that pivot_root(2) can leave, as it cannot leave
/// the initramfs itself.
pub fn settle() {
    fs::create_dir("/new").unwrap();
    let none = None::<&str>;
    mount(Some("/"), "/new", none, MsFlags::MS_BIND, none).unwrap();
    for (kind, at) in [
        ("proc", "proc"),
        ("sysfs", "sys"),
        ("cgroup2", "sys/fs/cgroup"),
        ("devtmpfs", "dev"),
        ("devpts", "dev/pts"),
        ("tmpfs", "dev/shm"),
        ("tmpfs", "tmp"),
    ] {
        mount_new(kind, &format!("/new/{at}"), none);
    }
    chdir("/new").unwrap();
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

/// A TAP report on standard output.
pub struct Tap {
    tests: usize,
    failed: usize,
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
        Self {
            tests: 0,
            failed: 0,
        }
    }

    /// Runs a test and prints its result: a panic is "not ok".
    pub fn test(&mut self, name: &str, test: impl FnOnce()) {
        self.tests += 1;
        // A panic drops the test's sandboxes, so the next test starts afresh.
        let end = panic::catch_unwind(panic::AssertUnwindSafe(test));
        self.failed += usize::from(end.is_err());
        let not = if end.is_ok() { "" } else { "not " };
        println!("{not}ok {} - {name}", self.tests);
    }

    /// Prints the plan, which is how many tests ran, if all of them passed.
    pub fn end(self) {
        match self.failed {
            0 => println!("1..{}", self.tests),
            failed => println!("Bail out! {failed} of {} tests failed", self.tests),
        }
    }
}
