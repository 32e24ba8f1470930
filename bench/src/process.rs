//! Starts processes as cheaply as Linux allows, and tells when they sleep.

use nix::{
    libc,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{Pid, write},
};
use std::{
    ffi::{CStr, CString, OsStr},
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::Path,
    process::Command,
    sync::LazyLock,
    time::Duration,
};

static NOWHERE: LazyLock<File> = LazyLock::new(|| {
    let mut options = File::options();
    options.read(true).write(true).open("/dev/null").unwrap()
});

/// A child process. Dropping it kills it and its children.
pub struct Process(pub Pid);

impl Process {
    /// Starts a program without input, output or environment. Returns after its execve.
    pub fn start(words: &[CString]) -> Self {
        let mut files = PosixSpawnFileActions::init().unwrap();
        for file in 0..3 {
            files.add_dup2(NOWHERE.as_raw_fd(), file).unwrap();
        }
        let attributes = PosixSpawnAttr::init().unwrap();
        let none: &[&CStr] = &[];
        let pid = posix_spawn(&*words[0], &files, &attributes, words, none);
        Self(pid.unwrap_or_else(|error| panic!("{words:?}: {error}")))
    }

    /// Like [`Self::start`], but the process joins the cgroup of this cgroup.procs file before execve.
    pub fn start_in(words: &[CString], door: &File) -> Self {
        let door = door.try_clone().unwrap();
        Self::start_after(words, move || Ok(write(&door, b"0").map(drop)?))
    }

    /// Like [`Self::start`], but the process calls `before` first, which may only make system calls.
    #[allow(clippy::zombie_processes, reason = "drop waits for it")]
    pub fn start_after(
        words: &[CString],
        before: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let arguments = words.iter().map(|word| OsStr::from_bytes(word.as_bytes()));
        let nowhere = || NOWHERE.try_clone().unwrap();
        let mut command = Command::new(OsStr::from_bytes(words[0].as_bytes()));
        command.args(arguments.skip(1)).env_clear();
        command.stdin(nowhere()).stdout(nowhere()).stderr(nowhere());
        // SAFETY: the closure only makes system calls.
        unsafe { command.pre_exec(before) };
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
        Self(Pid::from_raw(child.id() as i32))
    }

    /// Whether the process and its children sleep. A signal that arrives earlier may be lost.
    pub fn is_asleep(&self) -> bool {
        is_asleep(self.0) && children(self.0).into_iter().all(is_asleep)
    }

    /// Waits for the process to end. Does not poll: that would keep the CPU from the process until the
    /// next tick.
    pub fn end(self) {
        waitpid(self.0, None).unwrap();
        std::mem::forget(self);
    }
}

/// How long a process may take to sleep: long enough for a slow machine, so that only a hang fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

impl Drop for Process {
    fn drop(&mut self) {
        for child in children(self.0) {
            _ = kill(child, Signal::SIGKILL);
        }
        _ = kill(self.0, Signal::SIGKILL);
        _ = waitpid(self.0, None);
    }
}

/// The children of a process, zombies included (proc_tid_children(5)).
pub fn children(parent: Pid) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.map(Pid::from_raw).collect()
}

/// Whether a process waits in a system call other than execve (proc_pid_syscall(5)).
pub fn is_asleep(pid: Pid) -> bool {
    is_asleep_in("/proc".as_ref(), pid)
}

/// Like [`is_asleep`], for a process of another /proc.
pub fn is_asleep_in(proc: &Path, pid: Pid) -> bool {
    let call = fs::read_to_string(proc.join(format!("{pid}/syscall"))).unwrap_or_default();
    let number = call.split(' ').next().unwrap().parse::<libc::c_long>();
    number.is_ok_and(|number| number >= 0 && number != libc::SYS_execve)
}

/// Pins the caller and its children to one CPU, where the caller runs only while the CPU is idle. So it
/// takes no time from its children, and sees at once when they sleep.
pub struct Aside(CpuSet);

impl Aside {
    /// Holds until dropped.
    pub fn step() -> Self {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).unwrap();
        let mut one = CpuSet::new();
        // The last CPU, as most interrupts go to the first.
        let last = (0..CpuSet::count()).rfind(|cpu| before.is_set(*cpu).unwrap());
        one.set(last.unwrap()).unwrap();
        sched_setaffinity(this, &one).unwrap();
        schedule(libc::SCHED_IDLE | libc::SCHED_RESET_ON_FORK);
        Self(before)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        schedule(libc::SCHED_OTHER);
        sched_setaffinity(Pid::from_raw(0), &self.0).unwrap();
    }
}

fn schedule(policy: libc::c_int) {
    // SAFETY: the call reads one sched_param, for which all bytes 0 is a valid value.
    let done = unsafe { libc::sched_setscheduler(0, policy, &std::mem::zeroed()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
