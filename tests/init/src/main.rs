//! The init of the kernels that `kernels.rs` boots. It runs the other files' tests again, on this kernel and
//! as the image's user, and reports in TAP, the Test Anything Protocol. Then it executes pause as the
//! machine's PID 1, which a child that it leaves behind tests.

/// Lists each function, with its name.
macro_rules! promises {
    ($($function:ident),* $(,)? $(; natively: $($native:ident),* $(,)?)?) => {
        pub const PROMISES: &[(&str, fn(&sandbox::program::Program))] = &[
            $((stringify!($function), $function),)*
            $($((stringify!($native), $native),)*)?
        ];
    };
}

#[path = "../../behaviour.rs"]
mod behaviour;
#[path = "../../cgroups.rs"]
mod cgroups;
#[path = "../../limits.rs"]
mod limits;
#[path = "../../reaping.rs"]
mod reaping;
#[path = "../../signals.rs"]
mod signals;
#[path = "../../start.rs"]
mod start;

use init::Tap;

use nix::{
    libc,
    sys::signal::{Signal::SIGTERM, kill},
    unistd::{ForkResult, Pid, execv, fork, getpid},
};
use sandbox::{
    Processes, Sandbox, clone, leave_child,
    program::{Platform, Program, TERMINATED},
    wait_until,
};
use std::{fs, sync::atomic::Ordering};

/// The program under test.
const PAUSE: &str = "/pause";

const FIRST: Pid = Pid::from_raw(1);

fn main() {
    assert_eq!(getpid(), FIRST, "this is for a kernel to start");
    init::settle();
    sandbox::AS_NOBODY.store(true, Ordering::Relaxed);
    let mut tap = Tap::start();

    tap.test("the sandboxes have the image's user", || {
        let sandbox = Sandbox::start(&program(PAUSE));
        assert_eq!(sandbox.status("Uid"), "65535\t65535\t65535\t65535");
        assert_eq!(sandbox.status("Gid"), "65535\t65535\t65535\t65535");
        assert_eq!(sandbox.status("CapEff"), "0000000000000000");
    });
    for (promise, functions) in [
        ("behaviour", behaviour::PROMISES),
        ("signals", signals::PROMISES),
        ("reaping", reaping::PROMISES),
        ("start", start::PROMISES),
        ("limits", limits::PROMISES),
        ("cgroups", cgroups::PROMISES),
    ] {
        for (name, test) in functions {
            tap.test(&format!("{promise}: {name}"), || test(&program(PAUSE)));
        }
    }
    if cfg!(target_arch = "aarch64") {
        tap.test("pause aligned to pages of 4 KiB runs, too", || {
            let mut file = fs::read(PAUSE).unwrap();
            // p_align of the first program header (elf(5)).
            file[112..120].copy_from_slice(&0x1000_u64.to_le_bytes());
            fs::copy(PAUSE, "/tmp/pause-4k").unwrap(); // with its mode
            fs::write("/tmp/pause-4k", file).unwrap();
            Sandbox::start(&program("/tmp/pause-4k")).expect_end(SIGTERM, TERMINATED);
        });
    }

    // pause inherits these zombies, and a child.
    (0..5).for_each(|_| leave_child(0));
    // SAFETY: no other thread runs: those that the tests started have ended.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { .. } => {
            execv(c"/pause", &[c"/pause"]).unwrap();
        }
        ForkResult::Child => watch(tap),
    }
}

fn program(path: &str) -> Program {
    Program {
        platform: Platform::native(),
        path: path.into(),
    }
}

/// Tests pause as the machine's PID 1, and sends it SIGTERM in the end. The kernel then panics, and prints
/// pause's exit code.
fn watch(mut tap: Tap) -> ! {
    let machine = Processes::here();
    tap.test("as the machine's first process, pause sleeps", || {
        let name = || fs::read_to_string("/proc/1/comm").unwrap();
        wait_until("pause", || name() == "pause\n");
        machine.wait_until_asleep(FIRST);
    });
    tap.test("… and has reaped the zombies from before it", || {
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
