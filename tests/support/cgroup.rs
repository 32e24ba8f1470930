//! A cgroup for a sandbox, in the hierarchies of version 1 or in that of version 2: whichever the
//! machine has.

use crate::wait_until;
use nix::unistd::Pid;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// One test at a time, as in version 2 a controller is switched on for all of the machine's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The bytes of memory that the cgroups in one of that name are charged for. That itself may still be
/// for what was in cgroups that are gone.
pub fn charged_within(name: &str) -> u64 {
    let root = Path::new("/sys/fs/cgroup");
    let [one, two] = [root.join("memory").join(name), root.join(name)];
    let (folder, file) = match one.exists() {
        true => (one, "memory.usage_in_bytes"),
        false => (two, "memory.current"),
    };
    let inner = fs::read_dir(folder).unwrap();
    let files = inner.map(|it| it.unwrap().path().join(file));
    let bytes = files.filter_map(|it| fs::read_to_string(it).ok());
    bytes.map(|it| it.trim().parse::<u64>().unwrap()).sum()
}

/// A cgroup, which goes on drop, when its processes are gone.
pub struct Cgroup {
    folder: PathBuf,
    version: u32,
    /// The switch of version 2, and what to write to it to leave it as it was.
    switch: Option<(PathBuf, String)>,
    _turn: MutexGuard<'static, ()>,
}

impl Cgroup {
    /// A new cgroup with that controller: memory, pids or freezer.
    pub fn new(controller: &str) -> Self {
        // A test that failed leaves nothing in the way of the next.
        let turn = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(|failed| failed.into_inner());
        let root = Path::new("/sys/fs/cgroup");
        let name = format!("pause-test-{}", std::process::id());
        let mut cgroup = if root.join("cgroup.controllers").exists() {
            let switch = root.join("cgroup.subtree_control");
            let on = fs::read_to_string(&switch).unwrap();
            // The freezer is no controller there: every cgroup has it.
            let is_on = controller == "freezer" || on.split_whitespace().any(|it| it == controller);
            Self {
                folder: root.join(name),
                version: 2,
                switch: (!is_on).then(|| (switch, format!("-{controller}"))),
                _turn: turn,
            }
        } else {
            Self {
                folder: root.join(controller).join(name),
                version: 1,
                switch: None,
                _turn: turn,
            }
        };
        if let Some((switch, off)) = &mut cgroup.switch {
            fs::write(switch, off.replace('-', "+")).unwrap();
        }
        fs::create_dir(&cgroup.folder).unwrap();
        cgroup
    }

    /// The file that whoever writes 0 to goes into the cgroup with.
    pub fn door(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Allows this many bytes in all, the kernel's own for its processes among them.
    pub fn limit_memory(&self, bytes: u64) {
        let file = ["memory.limit_in_bytes", "memory.max"][self.version as usize - 1];
        fs::write(self.folder.join(file), bytes.to_string()).unwrap();
    }

    /// What is charged for, in bytes: all, and the kernel's own for its processes, of which version 2
    /// tells what it was up to [`Self::delay`] ago.
    pub fn charged(&self) -> (u64, u64) {
        let read = |file| fs::read_to_string(self.folder.join(file)).unwrap();
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

    /// How old the kinds of memory may be that are told (FLUSH_TIME in `mm/memcontrol.c`).
    pub fn delay(&self) -> Duration {
        Duration::from_millis([0, 2200][self.version as usize - 1])
    }

    /// Allows this many processes.
    pub fn limit_processes(&self, count: u32) {
        fs::write(self.folder.join("pids.max"), count.to_string()).unwrap();
    }

    /// Puts a process into it.
    pub fn add(&self, pid: Pid) {
        fs::write(self.door(), pid.to_string()).unwrap();
    }

    /// Freezes its processes and waits until they are, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        let (file, words, state, done) = match self.version {
            1 => (
                "freezer.state",
                ["THAWED", "FROZEN"],
                "freezer.state",
                ["THAWED", "FROZEN"],
            ),
            _ => (
                "cgroup.freeze",
                ["0", "1"],
                "cgroup.events",
                ["frozen 0", "frozen 1"],
            ),
        };
        fs::write(self.folder.join(file), words[usize::from(frozen)]).unwrap();
        wait_until("frozen, or thawed", || {
            let state = fs::read_to_string(self.folder.join(state)).unwrap();
            state.lines().any(|line| line == done[usize::from(frozen)])
        });
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        wait_until("rid of its cgroup", || fs::remove_dir(&self.folder).is_ok());
        if let Some((switch, off)) = &self.switch {
            fs::write(switch, off).unwrap();
        }
    }
}
