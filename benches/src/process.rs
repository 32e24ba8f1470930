//! Processes to measure: started as cheaply as Linux allows, and seen to sleep.

use nix::{
    libc,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
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

/// A process of ours, which is killed on drop, with the children that it has.
pub struct Process(pub Pid);

impl Process {
    /// Starts it, without input, output or environment. Back when it has executed the program.
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

    /// The same, of which the process goes into a cgroup by that door before it executes the program.
    pub fn start_in(words: &[CString], door: &File) -> Self {
        let door = door.as_raw_fd();
        Self::start_after(words, move || {
            // SAFETY: a system call.
            match unsafe { libc::write(door, c"0".as_ptr().cast(), 1) } {
                1 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
    }

    /// The same, with something done in the process before: system calls and no more.
    #[allow(clippy::zombie_processes, reason = "it is waited for on drop")]
    pub fn start_after(
        words: &[CString],
        before: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let arguments = words.iter().map(|word| OsStr::from_bytes(word.as_bytes()));
        let nowhere = || NOWHERE.try_clone().unwrap();
        let mut command = Command::new(OsStr::from_bytes(words[0].as_bytes()));
        command.args(arguments.skip(1)).env_clear();
        command.stdin(nowhere()).stdout(nowhere()).stderr(nowhere());
        // SAFETY: the closure makes system calls and no more.
        unsafe { command.pre_exec(before) };
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
        Self(Pid::from_raw(child.id() as i32))
    }

    /// Whether it sleeps, and all that it has started: what comes to it earlier may be lost.
    pub fn is_asleep(&self) -> bool {
        is_asleep(self.0) && children(self.0).into_iter().all(is_asleep)
    }

    /// Waits for its end, without asking for it. (Asking again and again would keep the processor that
    /// it needs until the next tick.)
    pub fn end(self) {
        waitpid(self.0, None).unwrap();
        std::mem::forget(self);
    }
}

/// A hang is a failure and slowness is none.
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

/// The children of a process, zombies too (proc_tid_children(5)).
pub fn children(parent: Pid) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.map(Pid::from_raw).collect()
}

/// Whether a process waits in a system call other than the execve that it came by
/// (proc_pid_syscall(5)).
pub fn is_asleep(pid: Pid) -> bool {
    is_asleep_in("/proc".as_ref(), pid)
}

/// The same, of a process that another /proc shows.
pub fn is_asleep_in(proc: &Path, pid: Pid) -> bool {
    let call = fs::read_to_string(proc.join(format!("{pid}/syscall"))).unwrap_or_default();
    let number = call.split(' ').next().unwrap().parse::<libc::c_long>();
    number.is_ok_and(|number| number >= 0 && number != libc::SYS_execve)
}

/// Nanoseconds that a process has run for so far (the first number of its schedstat:
/// Documentation/scheduler/sched-stats.rst).
pub fn run_time(pid: Pid) -> u64 {
    let statistics = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    statistics.split(' ').next().unwrap().parse().unwrap()
}

/// Page faults of a process so far that needed no disk (proc_pid_stat(5)).
pub fn faults(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(7).unwrap().parse().unwrap()
}

/// One processor for the caller and all that it starts, on which the caller only runs while nothing
/// else does: so that it sees at once when what it has started sleeps, and takes no time from it.
pub struct Aside(CpuSet);

impl Aside {
    /// Steps aside until this is dropped.
    pub fn step() -> Self {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).unwrap();
        let mut one = CpuSet::new();
        // The last one: interrupts mostly go to the first.
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
    // SAFETY: reads the one parameter; all bytes 0 are a value of it.
    let done = unsafe { libc::sched_setscheduler(0, policy, &std::mem::zeroed()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
