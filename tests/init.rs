//! The first process of the kernels that `kernels.rs` boots. It runs what the other files test once
//! more, on this kernel, as the user that the image has, and tells of it in TAP, the Test Anything
//! Protocol. Then it becomes pause itself, the first process of the whole machine, and a child that
//! it leaves sees how that goes.

// Its own file is a test for cargo alone; here, what they have for other kernels is called by name.
#![cfg_attr(not(test), allow(dead_code, unused_imports))]

mod behaviour;
mod limits;
mod reaping;
mod signals;
mod start;

use nix::{
    libc,
    sys::signal::{Signal::SIGTERM, kill},
    unistd::{ForkResult, Pid, execv, fork, getpid},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering,
};
use tests::{
    machine::{self, Tap},
    program::{Platform, Program, TERMINATED},
    sandbox::{self, End, Processes, Sandbox, clone, leave_child},
    wait_until,
};

/// Where `kernels.rs` puts it.
const PAUSE: &str = "/pause";

/// Where `kernels.rs` puts one that is linked for pages of 4 KiB, where there is a difference.
const SMALL_PAGES: &str = "/pause-4k";

/// What takes checkpoints, on a kernel that it knows.
const CRIU: &str = "/usr/sbin/criu";

/// The first process of the machine.
const FIRST: Pid = Pid::from_raw(1);

fn main() {
    assert_eq!(getpid(), FIRST, "this is for a kernel to start");
    machine::settle();
    sandbox::AS_NOBODY.store(true, Ordering::Relaxed);
    let mut tap = Tap::start();

    tap.test("the sandboxes have the image's user", || {
        let sandbox = Sandbox::start(&program(PAUSE));
        assert_eq!(sandbox.status("Uid"), "65535\t65535\t65535\t65535");
        assert_eq!(sandbox.status("Gid"), "65535\t65535\t65535\t65535");
        assert_eq!(sandbox.status("CapEff"), "0000000000000000");
    });
    for (promise, functions) in promises() {
        for (name, function) in functions {
            tap.test(&format!("{promise}: {name}"), || function(&program(PAUSE)));
        }
    }
    if Path::new(SMALL_PAGES).exists() {
        tap.test("linked for pages of 4 KiB it runs all the same", || {
            let sandbox = Sandbox::start(&program(SMALL_PAGES));
            sandbox.signal(SIGTERM);
            assert_eq!(sandbox.end(), End::exit(0, "", TERMINATED));
        });
    }
    if Path::new(CRIU).exists() {
        tap.test(
            "it sleeps on after a checkpoint",
            sleeps_on_after_a_checkpoint,
        );
    }

    // What it leaves behind, and takes over again as pause: zombies and a child.
    (0..5).for_each(|_| leave_child(0));
    // SAFETY: there is no other thread: each of those above has ended.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { .. } => {
            execv(c"/pause", &[c"/pause"]).unwrap();
        }
        ForkResult::Child => watch(tap),
    }
}

/// A test's name and what it does.
type Test = (&'static str, fn(&Program));

/// What the files test, by the promise that each of them is about.
fn promises() -> [(&'static str, &'static [Test]); 5] {
    [
        ("behaviour", behaviour::INSIDE),
        ("signals", signals::INSIDE),
        ("reaping", reaping::INSIDE),
        ("start", start::INSIDE),
        ("limits", limits::INSIDE),
    ]
}

fn program(path: &str) -> Program {
    Program {
        platform: Platform::native(),
        path: PathBuf::from(path),
    }
}

/// Which criu connects to, to see what the kernel knows.
fn start_loopback() {
    // SAFETY: the kernel reads the struct alone, of which all is 0 but what is set here
    // (netdevice(7)).
    unsafe {
        let mut lo: libc::ifreq = std::mem::zeroed();
        lo.ifr_name[0] = b'l' as _;
        lo.ifr_name[1] = b'o' as _;
        lo.ifr_ifru.ifru_flags = libc::IFF_UP as _;
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        assert_eq!(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &lo), 0);
        libc::close(socket);
    }
}

/// Dumped to files, and gone with its namespace, and made again from the files, it does what it did
/// before.
fn sleeps_on_after_a_checkpoint() {
    // Which criu looks for in the kernel.
    machine::load_modules();
    start_loopback();
    let sandbox = Sandbox::start_after(&program(PAUSE), || {
        // As root: criu has the process itself make a folder in its root. A checkpoint has no place
        // for pipes to others, nor for another's session.
        sandbox::AS_NOBODY.store(false, Ordering::Relaxed);
        // SAFETY: system calls.
        unsafe {
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            (0..=2).for_each(|file| _ = libc::dup2(null, file));
            libc::close(null);
            libc::setsid();
        }
    });
    let criu = |arguments: &[&str]| {
        let mut criu = Command::new(CRIU);
        criu.args(arguments);
        criu.args(["--images-dir", "/tmp", "-v4", "--log-file", "log"]);
        let end = sandbox::run(&mut criu);
        let log = fs::read_to_string("/tmp/log").unwrap_or_default();
        assert_eq!(end.status, Ok(0), "{end:?}\n{log}");
    };
    criu(&["dump", "--tree", &sandbox.pid.to_string()]);
    criu(&["restore", "--restore-detached", "--pidfile", "/tmp/pid"]);
    let pid = fs::read_to_string("/tmp/pid").unwrap();
    let sandbox = sandbox.remade_as(Pid::from_raw(pid.trim().parse().unwrap()));
    sandbox.wait_until_asleep();
    assert_eq!(sandbox.status("NSpid"), format!("{pid}\t1"));
    limits::expect_reaping(&sandbox);
    sandbox.signal(SIGTERM);
    assert_eq!(sandbox.end(), End::exit(0, "", ""));
}

/// Sees that pause, which is the first process by then, does for the machine what it does for a
/// sandbox, and sends it SIGTERM in the end: the kernel panics where that process is gone, and says
/// with which exit code.
fn watch(mut tap: Tap) -> ! {
    let machine = Processes::here();
    tap.test("as the machine's first process it sleeps", || {
        let name = || fs::read_to_string("/proc/1/comm").unwrap();
        wait_until("pause", || name() == "pause\n");
        machine.wait_until_asleep(FIRST);
    });
    tap.test("… and took the zombies from before it", || {
        assert_eq!(machine.children(FIRST), [getpid()]);
    });
    let sleeps = machine.sleeps(FIRST);
    tap.test("… and reaps without waking up", || {
        if clone(libc::SIGCHLD) == 0 {
            (0..200).for_each(leave_child);
            // SAFETY: a system call.
            unsafe { libc::_exit(0) };
        }
        wait_until("all reaped", || machine.children(FIRST) == [getpid()]);
        assert_eq!(machine.sleeps(FIRST), sleeps);
    });
    tap.test("… and sleeps on after each other signal", || {
        for signal in (1..=64).filter(|it| ![libc::SIGINT, libc::SIGTERM].contains(it)) {
            // SAFETY: a system call.
            unsafe { libc::kill(FIRST.as_raw(), signal) };
        }
        machine.wait_until_asleep(FIRST);
    });
    tap.end();
    kill(FIRST, SIGTERM).unwrap();
    loop {
        // SAFETY: a system call.
        unsafe { libc::pause() };
    }
}
