//! A cgroup for a sandbox, v1 or v2: whichever the machine has.

use crate::wait_until;
use nix::unistd::Pid;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// Runs one test at a time: v2 enables a controller for all cgroups of the machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The bytes of memory charged to the children of the cgroup `name`. Its own charge is left out: it may
/// include cgroups that are gone.
pub fn charged_within(name: &str) -> u64 {
    let root = Path::new("/sys/fs/cgroup");
    let [one, two] = [root.join("memory").join(name), root.join(name)];
    let (directory, file) = match one.exists() {
        true => (one, "memory.usage_in_bytes"),
        false => (two, "memory.current"),
    };
    let inner = fs::read_dir(directory).unwrap();
    let files = inner.map(|it| it.unwrap().path().join(file));
    let bytes = files.filter_map(|it| fs::read_to_string(it).ok());
    bytes.map(|it| it.trim().parse::<u64>().unwrap()).sum()
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

    /// The bytes charged: in all, and the kernel memory in that. On v2 the second may be as old as
    /// [`Self::delay`].
    pub fn charged(&self) -> (u64, u64) {
        let read = |file| fs::read_to_string(self.directory.join(file)).unwrap();
        let bytes = |text: &str| text.trim().parse::<u64>().unwrap();
        if self.version == 1 {
            let all = bytes(&read("memory.usage_in_bytes"));
            return (all, bytes(&read("memory.kmem.usage_in_bytes")));
        }
        let all = bytes(&read("memory.current"));
        let kinds = read("memory.stat");
        let of = |kind| bytes(kinds.lines().find_map(|it| it.strip_prefix(kind)).unwrap());
        (all, all.saturating_sub(of("anon ") + of("file ")))
    }

    /// How old v2's memory.stat may be (FLUSH_TIME in `mm/memcontrol.c`).
    pub fn delay(&self) -> Duration {
        Duration::from_millis([0, 2200][self.version as usize - 1])
    }

    /// Limits the number of processes.
    pub fn limit_processes(&self, count: u32) {
        fs::write(self.directory.join("pids.max"), count.to_string()).unwrap();
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
