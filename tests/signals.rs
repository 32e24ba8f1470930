//! Which signals end pause, which do not, and what happens to signals that its parent blocked or ignored.

use nix::{
    libc::{self, c_int},
    sys::signal::{
        SigSet,
        Signal::{self, SIGCHLD, SIGINT, SIGKILL, SIGSTOP, SIGTERM},
    },
};
use sandbox::{
    End, Sandbox, clone, fill_standard_error, leave_child,
    program::{INTERRUPT, Program, TERMINATED},
    wait_until,
};

promises!(
    exits_on_signals_that_its_parent_ignored,
    reaps_if_its_parent_blocked_or_ignored_sigchld,
    stays_if_its_signals_are_blocked,
    lets_no_other_signal_into_its_last_line;
    natively: sleeps_on_after_each_other_signal,
    exits_on_a_signal_from_inside,
);

/// The signals that end pause, and what it prints then.
const LINES: [(Signal, &str); 2] = [(SIGINT, INTERRUPT), (SIGTERM, TERMINATED)];

fn send(pid: libc::pid_t, signal: c_int) {
    // SAFETY: a system call. (nix has no real-time signals.)
    unsafe { libc::kill(pid, signal) };
}

/// From outside its namespace, and from inside, where the kernel ignores SIGKILL and SIGSTOP, too. Native
/// programs only, as is the next test: an emulator handles signals that its program does not.
fn sleeps_on_after_each_other_signal(program: &Program) {
    let sandbox = Sandbox::start(program);
    let without = |those: &'static [Signal]| {
        (1..=64).filter(|signal| !those.iter().any(|it| *it as c_int == *signal))
    };
    without(&[SIGINT, SIGTERM, SIGKILL, SIGSTOP])
        .for_each(|signal| send(sandbox.pid.as_raw(), signal));
    sandbox.wait_until_asleep();
    sandbox.enter(|| without(&[SIGINT, SIGTERM]).for_each(|signal| send(1, signal)));
    sandbox.wait_until_asleep();
    sandbox.expect_end(SIGTERM, TERMINATED);
}

fn exits_on_a_signal_from_inside(program: &Program) {
    for (signal, line) in LINES {
        let sandbox = Sandbox::start(program);
        // An orphan sends it: the sender is killed with the namespace.
        sandbox.enter(|| {
            if clone(libc::SIGCHLD) == 0 {
                // SAFETY: system calls.
                unsafe {
                    libc::usleep(50_000);
                    send(1, signal as c_int);
                    libc::_exit(0);
                }
            }
        });
        assert_eq!(sandbox.end(), End::exit(0, "", line));
    }
}

/// The other signal comes while pause waits for a reader of its line.
fn lets_no_other_signal_into_its_last_line(program: &Program) {
    for ((first, line), (second, _)) in LINES.into_iter().zip(LINES.into_iter().rev()) {
        let sandbox = Sandbox::start_after(program, fill_standard_error);
        let asleep = sandbox.sleeps();
        sandbox.signal(first);
        wait_until("waiting for a reader", || sandbox.sleeps() > asleep);
        sandbox.signal(second);
        let end = sandbox.end();
        assert_eq!(end.status, Ok(0));
        // qemu-user 7.2 takes each sigaction to have a restorer, and reads the mask 8 bytes too far. For
        // these, tests/init checks this on a kernel.
        let has_none = ["loong64", "riscv64"].contains(&program.platform.arch);
        if !has_none || program.platform.is_native() {
            assert_eq!(end.stderr.trim_start_matches('x'), line);
        }
    }
}

fn exits_on_signals_that_its_parent_ignored(program: &Program) {
    for (signal, line) in LINES {
        // SAFETY: a system call.
        let ignore = || unsafe { _ = libc::signal(signal as c_int, libc::SIG_IGN) };
        Sandbox::start_after(program, ignore).expect_end(signal, line);
    }
}

/// Blocks signals. Makes a system call and no more.
fn block<const N: usize>(signals: [Signal; N]) {
    _ = SigSet::from_iter(signals).thread_block();
}

fn reaps_if_its_parent_blocked_or_ignored_sigchld(program: &Program) {
    for before in [
        (|| block([SIGCHLD])) as fn(),
        // SAFETY: a system call.
        || unsafe { _ = libc::signal(libc::SIGCHLD, libc::SIG_IGN) },
    ] {
        let sandbox = Sandbox::start_after(program, before);
        // The child outlives its parent by 20 ms.
        sandbox.enter(|| leave_child(20_000));
        wait_until("all reaped", || sandbox.children().is_empty());
        sandbox.expect_end(SIGTERM, TERMINATED);
    }
}

/// A signal that the parent blocked stays blocked, and pending. Runtimes block none; SIGKILL ends pause.
fn stays_if_its_signals_are_blocked(program: &Program) {
    let sandbox = Sandbox::start_after(program, || block([SIGINT, SIGTERM]));
    sandbox.signal(SIGTERM);
    sandbox.signal(SIGINT);
    let pending = || u64::from_str_radix(&sandbox.status("ShdPnd"), 16).unwrap();
    assert_eq!(pending() & 0x4002, 0x4002);
    sandbox.wait_until_asleep();
    assert_eq!(pending() & 0x4002, 0x4002);
    sandbox.signal(SIGKILL);
    assert_eq!(sandbox.end().status, Err(SIGKILL));
}
