//! A PID namespace whose first process is the program under test.

use crate::{program::Program, text, wait_until};
use nix::{
    fcntl::OFlag,
    libc,
    mount::{MsFlags, mount},
    sched::{self, CloneFlags, setns},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getgid, getuid, pipe2},
};
use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::PathBuf,
    process::{self, Command},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::Duration,
};

/// The first process of a PID namespace. Drop kills it, and the namespace with it.
pub struct Sandbox {
    pub pid: Pid,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    gone: bool,
}

/// Calls clone(2) directly; returns 0 in the child, which may make system calls and no more. libc's fork
/// would wait for locks held by threads that the fork did not copy.
pub fn clone(flags: libc::c_int) -> libc::pid_t {
    // On s390x the stack comes first (clone(2)).
    let [first, second] = if cfg!(target_arch = "s390x") {
        [0, flags]
    } else {
        [flags, 0]
    };
    // SAFETY: no test passes CLONE_VM, so parent and child do not share memory.
    unsafe { libc::syscall(libc::SYS_clone, first, second, 0, 0, 0) as libc::pid_t }
}

/// Whether sandboxes run as the image's user, 65535, instead of root.
pub static AS_NOBODY: AtomicBool = AtomicBool::new(false);

/// Becomes the image's user if [`AS_NOBODY`] is set; does nothing when called again. Every sandbox does
/// this right before execve(2). One that loses the right to (by a seccomp filter, say) calls it earlier.
/// Makes system calls and no more.
pub fn take_user() {
    if AS_NOBODY.swap(false, Ordering::Relaxed) {
        become_nobody();
    }
}

/// Becomes the image's user and group, 65535, and loses all capabilities. Makes system calls and no more.
pub fn become_nobody() {
    // On 32-bit machines the plain calls take 16-bit ids, of which 65535 means "none" (setuid(2)).
    #[cfg(target_pointer_width = "64")]
    use libc::{SYS_setgid, SYS_setgroups, SYS_setuid};
    #[cfg(target_pointer_width = "32")]
    use libc::{
        SYS_setgid32 as SYS_setgid, SYS_setgroups32 as SYS_setgroups, SYS_setuid32 as SYS_setuid,
    };
    // SAFETY: system calls. libc's functions would wait for all threads to change their user too, and
    // the fork did not copy these.
    unsafe {
        libc::syscall(SYS_setgroups, 0, 0);
        libc::syscall(SYS_setgid, 65535);
        libc::syscall(SYS_setuid, 65535);
    }
}

/// Makes a user root in a user namespace, where that root may make the other namespaces. Ends the process if
/// the machine refuses. To be called while the process has one thread (user_namespaces(7)).
pub extern "C" fn become_root() {
    let (user, group) = (getuid(), getgid());
    if user.is_root() {
        return;
    }
    let entered = sched::unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(io::Error::from)
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {user} 1")))
        .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {group} 1")));
    if let Err(error) = entered {
        eprintln!(
            "pause: the tests need root or user namespaces, and this machine refuses both: {error}"
        );
        process::exit(1);
    }
}

/// Starts a child that ends after `microseconds`. Makes system calls and no more.
pub fn leave_child(microseconds: libc::c_uint) {
    leave(libc::SIGCHLD, microseconds);
}

/// Does the same with other flags of clone(2): the signal that the child's parent gets at its end, or none.
pub fn leave(flags: libc::c_int, microseconds: libc::c_uint) {
    if clone(flags) == 0 {
        // SAFETY: system calls.
        unsafe {
            libc::usleep(microseconds);
            libc::_exit(0);
        }
    }
}

/// Fills the pipe that is standard error with "x". Makes system calls and no more.
pub fn fill_standard_error() {
    // SAFETY: system calls.
    unsafe {
        libc::fcntl(2, libc::F_SETFL, libc::O_NONBLOCK);
        let page = [b'x'; 4096];
        while libc::write(2, page.as_ptr().cast(), page.len()) > 0 {}
        libc::fcntl(2, libc::F_SETFL, 0);
    }
}

/// How a process ended and what it printed.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// The exit code, or the signal that killed it.
    pub status: Result<i32, Signal>,
    pub stdout: String,
    pub stderr: String,
}

impl End {
    /// An exit with that code.
    pub fn exit(code: i32, stdout: &str, stderr: &str) -> Self {
        Self {
            status: Ok(code),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        }
    }
}

impl Sandbox {
    /// Starts the program in a new PID namespace and waits until it sleeps.
    pub fn start(program: &Program) -> Self {
        Self::start_after(program, || {})
    }

    /// Runs `before` in the new process, then starts the program there and waits until it sleeps.
    ///
    /// `before` runs in a fork of a process with threads: it may make system calls and no more.
    pub fn start_after(program: &Program, before: impl Fn()) -> Self {
        Self::start_in(CloneFlags::CLONE_NEWPID, program, before)
    }

    /// Does the same as [`Self::start_after`] with arguments, but does not wait: the program may leave
    /// before it sleeps.
    pub fn run_after(program: &Program, arguments: Vec<Vec<u8>>, before: impl Fn()) -> Self {
        let words = [program.words(), arguments].concat();
        Self::run_in(CloneFlags::CLONE_NEWPID, words, before)
    }

    /// Does the same as [`Self::start_after`], in the new `namespaces` instead of a PID namespace.
    pub fn start_in(namespaces: CloneFlags, program: &Program, before: impl Fn()) -> Self {
        let sandbox = Self::run_in(namespaces, program.words(), before);
        sandbox.wait_until_asleep();
        sandbox
    }

    /// Waits until pause is in its last sleep.
    pub fn wait_until_asleep(&self) {
        Processes::here().wait_until_asleep(self.pid);
    }

    /// Waits until pause has taken its last action.
    pub fn wait_until_it_ignores_sigchld(&self) {
        let processes = Processes::here();
        wait_until("ignoring SIGCHLD", || processes.ignores_sigchld(self.pid));
    }

    /// Starts a command that ends by executing /bin/sleep, in new PID, mount and network namespaces and
    /// in `others`. Its /proc is its own; /run, /var/lib and /var/log are empty, because daemons write
    /// there whatever their configuration says. A user namespace maps ids to themselves.
    pub fn nest(others: CloneFlags, words: &[&str]) -> Self {
        let namespaces =
            CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | others;
        let nest = Self::run_in(namespaces, words.iter().copied(), || {
            // A program executed before the ids are mapped would lose its capabilities.
            // SAFETY: system calls.
            unsafe {
                while libc::getuid() != 0 {
                    libc::usleep(1000);
                }
            }
            let none = None::<&str>;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            let mount_new = |kind, at| mount(Some(kind), at, Some(kind), MsFlags::empty(), none);
            let mounted = mount(none, "/", none, private, none)
                .and_then(|()| mount_new("proc", "/proc"))
                .and_then(|()| mount_new("tmpfs", "/run"))
                .and_then(|()| mount_new("tmpfs", "/var/lib"))
                .and_then(|()| mount_new("tmpfs", "/var/log"));
            if mounted.is_err() {
                // SAFETY: a system call.
                unsafe { libc::_exit(126) };
            }
        });
        if others.contains(CloneFlags::CLONE_NEWUSER) {
            for map in ["uid_map", "gid_map"] {
                // runc takes a map of all ids for the machine's own namespace, and filters devices.
                fs::write(format!("/proc/{}/{map}", nest.pid), "0 0 65536").unwrap();
            }
        }
        let started = format!("/proc/{}/cmdline", nest.pid);
        wait_until("in new namespaces", || {
            fs::read_to_string(&started).is_ok_and(|words| words.starts_with("/bin/sleep"))
        });
        nest
    }

    /// Starts any command in new namespaces.
    pub fn run_in<W: Into<Vec<u8>>>(
        namespaces: CloneFlags,
        words: impl IntoIterator<Item = W>,
        before: impl Fn(),
    ) -> Self {
        let words: Vec<Vec<u8>> = words.into_iter().map(Into::into).collect();
        Self::execute(namespaces, &words[0].clone(), words, before)
    }

    /// Executes the file at `path` in new namespaces. `arguments` begin with `argv[0]`.
    ///
    /// `before` runs in a fork of a process with threads: it may make system calls and no more.
    pub fn execute(
        namespaces: CloneFlags,
        path: &[u8],
        arguments: Vec<Vec<u8>>,
        before: impl Fn(),
    ) -> Self {
        let text = |bytes: Vec<u8>| CString::new(bytes).unwrap();
        let path = text(path.to_vec());
        let arguments: Vec<CString> = arguments.into_iter().map(text).collect();
        let arguments = arguments.iter().map(|argument| argument.as_ptr());
        let argv: Vec<*const libc::c_char> = arguments.chain([std::ptr::null()]).collect();
        let environment = [std::ptr::null()];
        let (stdout, stdout_end) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (stderr, stderr_end) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let first = || {
            // SAFETY: system calls alone, on memory made before the clone.
            unsafe {
                libc::dup2(stdout_end.as_raw_fd(), 1);
                libc::dup2(stderr_end.as_raw_fd(), 2);
                before();
                take_user();
                libc::execve(path.as_ptr(), argv.as_ptr(), environment.as_ptr());
                libc::_exit(127)
            }
        };
        let mut stack = vec![0; 64 << 10];
        // SAFETY: without CLONE_VM the child has a copy of the memory, its stack included.
        let pid =
            unsafe { sched::clone(Box::new(first), &mut stack, namespaces, Some(libc::SIGCHLD)) }
                .expect("namespaces need root");
        Self {
            pid,
            stdout: Some(stdout),
            stderr: Some(stderr),
            gone: false,
        }
    }

    /// A field of /proc/PID/status (proc_pid_status(5)).
    pub fn status(&self, field: &str) -> String {
        Processes::here().status(self.pid, field)
    }

    /// How often it has gone to sleep: its voluntary context switches.
    pub fn sleeps(&self) -> u64 {
        Processes::here().sleeps(self.pid)
    }

    /// Its children, zombies included.
    pub fn children(&self) -> Vec<Pid> {
        Processes::here().children(self.pid)
    }

    /// Runs `work` to its end in a process of the namespace that is not a child of the first process.
    /// Children that `work` leaves behind become orphans.
    ///
    /// `work` runs in a fork of a process with threads: it may make system calls and no more.
    pub fn enter(&self, work: impl Fn()) {
        let namespace = File::open(format!("/proc/{}/ns/pid", self.pid)).unwrap();
        let is_good = |pid| {
            let child = Pid::from_raw(pid);
            waitpid(child, None) == Ok(WaitStatus::Exited(child, 0))
        };
        // The child joins the namespace; the grandchild is the first process in it (setns(2)).
        let door = clone(libc::SIGCHLD);
        if door == 0 {
            let joined = setns(&namespace, CloneFlags::CLONE_NEWPID).is_ok();
            let worker = if joined { clone(libc::SIGCHLD) } else { -1 };
            if worker == 0 {
                work();
            }
            let is_good = worker == 0 || worker > 0 && is_good(worker);
            // SAFETY: a system call.
            unsafe { libc::_exit((!is_good).into()) };
        }
        assert!(is_good(door), "work failed in the namespace");
    }

    /// Leaves ten orphans, some of them dead already, and waits until all are reaped.
    pub fn expect_reaping(&self) {
        self.enter(|| (0..10).for_each(|_| leave_child(0)));
        wait_until("all reaped", || self.children().is_empty());
    }

    /// Sends it a signal from outside its namespace.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    /// Sends SIGSTOP and waits until it is stopped.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        wait_until("stopped", || self.status("State").starts_with('T'));
    }

    /// Sends `signal`; the program must then exit with 0 and print nothing but `stderr`.
    #[track_caller]
    pub fn expect_end(self, signal: Signal, stderr: &str) {
        self.signal(signal);
        assert_eq!(self.end(), End::exit(0, "", stderr));
    }

    /// Waits until it ends, and reads what it prints meanwhile.
    pub fn end(mut self) -> End {
        let read = |pipe: Option<OwnedFd>| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                File::from(pipe.unwrap()).read_to_end(&mut bytes).unwrap();
                text(bytes)
            })
        };
        let (stdout, stderr) = (read(self.stdout.take()), read(self.stderr.take()));
        let mut status = Err(Signal::SIGKILL);
        wait_until("ended", || {
            status = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => return false,
                WaitStatus::Exited(_, code) => Ok(code),
                WaitStatus::Signaled(_, signal, _) => Err(signal),
                other => panic!("{other:?}"),
            };
            true
        });
        self.gone = true;
        End {
            status,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }

    /// Kills it, and its namespace with it, unless it has ended.
    pub fn kill(&mut self) {
        if !self.gone {
            self.signal(Signal::SIGKILL);
            waitpid(self.pid, None).unwrap();
            self.gone = true;
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes in a mounted /proc.
pub struct Processes(pub PathBuf);

impl Processes {
    /// The processes in this PID namespace.
    pub fn here() -> Self {
        Self("/proc".into())
    }

    /// A field of PID/status (proc_pid_status(5)).
    pub fn status(&self, pid: Pid, field: &str) -> String {
        let status = fs::read_to_string(self.0.join(format!("{pid}/status"))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap()[1..].trim().to_owned()
    }

    fn ignores_sigchld(&self, pid: Pid) -> bool {
        let ignored = u64::from_str_radix(&self.status(pid, "SigIgn"), 16).unwrap();
        ignored & 1 << (libc::SIGCHLD - 1) != 0
    }

    /// Whether it ignores SIGCHLD and sleeps: pause's last step.
    fn is_asleep(&self, pid: Pid) -> bool {
        self.ignores_sigchld(pid) && self.status(pid, "State").starts_with('S')
    }

    /// Whether a process runs the native program.
    pub fn runs_pause(&self, pid: Pid) -> bool {
        let running = fs::read(self.0.join(format!("{pid}/exe")));
        running.is_ok_and(|it| it == fs::read(Program::native().path).unwrap())
    }

    /// Waits until pause is in its last sleep and the kernel has counted that sleep, which it does a
    /// moment after it shows the state.
    pub fn wait_until_asleep(&self, pid: Pid) {
        wait_until("asleep", || {
            let sleeps = self.sleeps(pid);
            self.is_asleep(pid) && {
                sleep(Duration::from_millis(10));
                self.is_asleep(pid) && self.sleeps(pid) == sleeps
            }
        });
    }

    /// How often a process has gone to sleep.
    pub fn sleeps(&self, pid: Pid) -> u64 {
        let sleeps = self.status(pid, "voluntary_ctxt_switches");
        sleeps.parse().unwrap()
    }

    /// The children of a process, zombies included.
    pub fn children(&self, parent: Pid) -> Vec<Pid> {
        let parent = format!("PPid:\t{parent}\n");
        let is_child = |pid: &Pid| {
            // A process that has ended since is nobody's child.
            fs::read_to_string(self.0.join(format!("{pid}/status")))
                .is_ok_and(|status| status.contains(&parent))
        };
        self.all().filter(is_child).collect()
    }

    /// All processes. Some may end before the caller looks at them.
    pub fn all(&self) -> impl Iterator<Item = Pid> + use<> {
        let entries = fs::read_dir(&self.0).unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.map(Pid::from_raw)
    }
}

/// Runs a command to its end, outside any sandbox.
pub fn run(command: &mut Command) -> End {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let code = output.status.code();
    End {
        status: code.ok_or_else(|| Signal::try_from(output.status.signal().unwrap()).unwrap()),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
