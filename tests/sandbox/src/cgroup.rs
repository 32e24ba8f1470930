//! A cgroup for a sandbox, v1 or v2: whichever the machine has.

use crate::wait_until;
use nix::{
    libc,
    unistd::{Pid, write},
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

/// Runs one test at a time: v2 enables a controller for all cgroups of the machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The bytes of memory charged to a cgroup of v1 or v2; 0 if it has no controller for memory.
fn charged(cgroup: &Path) -> u64 {
    let files = ["memory.usage_in_bytes", "memory.current"];
    let mut texts = files.iter().map(|it| fs::read_to_string(cgroup.join(it)));
    let text = texts.find_map(Result::ok);
    text.map_or(0, |it| it.trim().parse().unwrap())
}

/// The bytes of memory charged to the children of the cgroup `name`. Its own charge is left out: it may
/// include cgroups that are gone.
pub fn charged_within(name: &str) -> u64 {
    let root = Path::new("/sys/fs/cgroup");
    let cgroups = fs::read_dir(root.join("memory").join(name));
    let cgroups = cgroups.or_else(|_| fs::read_dir(root.join(name))).unwrap();
    cgroups.map(|it| charged(&it.unwrap().path())).sum()
}

/// A cgroup. Drop removes it as soon as its processes are gone.
pub struct Cgroup {
    directory: PathBuf,
    version: u32,
    /// v2's cgroup.subtree_control, and what to write there to restore it.
    switch: Option<(PathBuf, String)>,
    _turn: MutexGuard<'static, ()>,
}

impl Cgroup {
    /// Makes a cgroup with the controller memory, pids or freezer.
    pub fn new(controller: &str) -> Self {
        // A failed test cleans up in drop, so a poisoned lock is fine.
        let turn = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(|failed| failed.into_inner());
        let root = Path::new("/sys/fs/cgroup");
        let name = format!("pause-test-{}", std::process::id());
        let (version, directory) = match root.join("cgroup.controllers").exists() {
            true => (2, root.join(name)),
            false => (1, root.join(controller).join(name)),
        };
        let mut switch = None;
        // Every v2 cgroup has a freezer; it is no controller there.
        if version == 2 && controller != "freezer" {
            let file = root.join("cgroup.subtree_control");
            let enabled = fs::read_to_string(&file).unwrap();
            if !enabled.split_whitespace().any(|it| it == controller) {
                fs::write(&file, format!("+{controller}")).unwrap();
                switch = Some((file, format!("-{controller}")));
            }
        }
        fs::create_dir(&directory).unwrap();
        Self {
            directory,
            version,
            switch,
            _turn: turn,
        }
    }

    /// cgroup.procs: a process that writes 0 there enters the cgroup.
    pub fn door(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    /// Limits memory to this many bytes, kernel memory included.
    pub fn limit_memory(&self, bytes: u64) {
        let file = ["memory.limit_in_bytes", "memory.max"][self.version as usize - 1];
        fs::write(self.directory.join(file), bytes.to_string()).unwrap();
    }

    /// The bytes charged, kernel memory included.
    pub fn charged(&self) -> u64 {
        charged(&self.directory)
    }

    /// Limits the number of processes.
    pub fn limit_processes(&self, count: u32) {
        fs::write(self.directory.join("pids.max"), count.to_string()).unwrap();
    }

    /// A function that moves the calling process into it, or ends it with 126. Makes system calls and no more.
    pub fn enter(&self) -> impl Fn() + use<> {
        let door = File::options().write(true).open(self.door()).unwrap();
        move || {
            if write(&door, b"0") != Ok(1) {
                // SAFETY: a system call.
                unsafe { libc::_exit(126) };
            }
        }
    }

    /// Moves a process into it.
    pub fn add(&self, pid: Pid) {
        fs::write(self.door(), pid.to_string()).unwrap();
    }

    /// Freezes or thaws its processes, and waits until that is done.
    pub fn freeze(&self, frozen: bool) {
        let (v1, v2) = (["freezer.state"; 2], ["cgroup.freeze", "cgroup.events"]);
        let ([file, state], word, done) = match (self.version, frozen) {
            (1, true) => (v1, "FROZEN", "FROZEN"),
            (1, false) => (v1, "THAWED", "THAWED"),
            (_, true) => (v2, "1", "frozen 1"),
            (_, false) => (v2, "0", "frozen 0"),
        };
        fs::write(self.directory.join(file), word).unwrap();
        wait_until(done, || {
            let state = fs::read_to_string(self.directory.join(state)).unwrap();
            state.lines().any(|line| line == done)
        });
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        wait_until("rid of its cgroup", || {
            fs::remove_dir(&self.directory).is_ok()
        });
        if let Some((switch, off)) = &self.switch {
            fs::write(switch, off).unwrap();
        }
    }
}
