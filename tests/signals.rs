//! Signals: which end pause, which do not, and what it makes of those that whoever started it
//! had blocked or ignored.

use nix::{
    libc::{self, c_int},
    sys::signal::Signal::{self, SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM},
};
use tests::{
    for_each_program,
    program::{INTERRUPT, Program, TERMINATED},
    sandbox::{End, Sandbox, clone, fill_standard_error, leave_child},
    wait_until,
};

for_each_program!(
    leaves_on_signals_that_were_ignored_before_it,
    reaps_where_sigchld_was_blocked_or_ignored_before_it,
    stays_where_its_signals_are_blocked,
    leaves_once_it_goes_on_after_a_stop,
    lets_no_other_signal_into_its_last_line;
    natively: sleeps_on_after_each_other_signal_from_outside,
    sleeps_on_after_each_other_signal_from_inside,
    leaves_on_a_signal_from_inside,
);

/// Every signal but the two that end it, and the two that nobody can handle.
fn other_signals() -> impl Iterator<Item = c_int> {
    (1..=64).filter(|signal| {
        ![SIGINT, SIGTERM, SIGKILL, SIGSTOP]
            .map(|it| it as c_int)
            .contains(signal)
    })
}

fn send(pid: libc::pid_t, signal: c_int) {
    // SAFETY: a system call. (nix knows no real-time signals.)
    unsafe { libc::kill(pid, signal) };
}

fn expect_end(sandbox: Sandbox, signal: Signal) {
    sandbox.signal(signal);
    expect_end_with(sandbox, signal);
}

/// Sees that it ends as that signal makes it end.
fn expect_end_with(sandbox: Sandbox, signal: Signal) {
    assert_eq!(sandbox.end(), End::exit(0, "", line(signal)));
}

fn line(signal: Signal) -> &'static str {
    match signal {
        SIGINT => INTERRUPT,
        _ => TERMINATED,
    }
}

/// Natively alone, as is the next: an emulator handles signals that its program does not, and
/// cannot die of them then.
fn sleeps_on_after_each_other_signal_from_outside(program: &Program) {
    let sandbox = Sandbox::start(program);
    for signal in other_signals() {
        send(sandbox.pid.as_raw(), signal);
    }
    sandbox.wait_until_asleep();
    expect_end(sandbox, SIGTERM);
}

fn sleeps_on_after_each_other_signal_from_inside(program: &Program) {
    let sandbox = Sandbox::start(program);
    sandbox.enter(|| {
        other_signals().for_each(|signal| send(1, signal));
        // From inside, these two do nothing either.
        send(1, SIGKILL as c_int);
        send(1, SIGSTOP as c_int);
    });
    sandbox.wait_until_asleep();
    expect_end(sandbox, SIGINT);
}

fn leaves_on_a_signal_from_inside(program: &Program) {
    for signal in [SIGINT, SIGTERM] {
        let sandbox = Sandbox::start(program);
        // Whoever sends it ends with the namespace, so an orphan does.
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
        expect_end_with(sandbox, signal);
    }
}

/// It waits for a reader of its line, and the other signal comes meanwhile.
fn lets_no_other_signal_into_its_last_line(program: &Program) {
    for (first, second) in [(SIGINT, SIGTERM), (SIGTERM, SIGINT)] {
        let sandbox = Sandbox::start_after(program, fill_standard_error);
        let asleep = sandbox.sleeps();
        sandbox.signal(first);
        wait_until("waiting for a reader", || sandbox.sleeps() > asleep);
        sandbox.signal(second);
        let said = sandbox.end_with(|said| said.trim_start_matches('x').to_owned());
        assert_eq!(said.status, Ok(0));
        // qemu-user 7.2 believes that riscv64's action has a restorer, and reads the mask 8 bytes too
        // far. There it is the kernel in QEMU that shows this (tests/kernels.rs).
        if program.platform.arch != "riscv64" || program.platform.is_native() {
            assert_eq!(said.stderr, line(first));
        }
    }
}

fn leaves_once_it_goes_on_after_a_stop(program: &Program) {
    let sandbox = Sandbox::start(program);
    sandbox.stop();
    sandbox.signal(SIGCONT);
    sandbox.wait_until_asleep();

    sandbox.stop();
    sandbox.signal(SIGTERM);
    assert!(sandbox.status("State").starts_with('T'));
    // The first takes effect with the second, which lets it go on.
    sandbox.signal(SIGCONT);
    expect_end_with(sandbox, SIGTERM);
}

fn leaves_on_signals_that_were_ignored_before_it(program: &Program) {
    for signal in [SIGINT, SIGTERM] {
        let sandbox = Sandbox::start_after(program, || {
            // SAFETY: system calls.
            unsafe {
                libc::signal(libc::SIGINT, libc::SIG_IGN);
                libc::signal(libc::SIGTERM, libc::SIG_IGN);
            }
        });
        expect_end(sandbox, signal);
    }
}

/// Blocks signals, before the program starts.
fn block(signals: &[c_int]) {
    // SAFETY: system calls on a set of our own.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

fn reaps_where_sigchld_was_blocked_or_ignored_before_it(program: &Program) {
    for before in [
        (|| block(&[libc::SIGCHLD])) as fn(),
        // SAFETY: a system call.
        || unsafe { _ = libc::signal(libc::SIGCHLD, libc::SIG_IGN) },
    ] {
        let sandbox = Sandbox::start_after(program, before);
        sandbox.enter(|| {
            // The child outlives its parent by a moment.
            leave_child(20_000);
        });
        wait_until("all reaped", || sandbox.children().is_empty());
        expect_end(sandbox, SIGTERM);
    }
}

/// A blocked signal stays blocked: whoever blocks SIGTERM for its children asked for that, and
/// runtimes block none. It is pending then; SIGKILL ends it.
fn stays_where_its_signals_are_blocked(program: &Program) {
    let sandbox = Sandbox::start_after(program, || block(&[libc::SIGINT, libc::SIGTERM]));
    sandbox.signal(SIGTERM);
    sandbox.signal(SIGINT);
    let pending = || u64::from_str_radix(&sandbox.status("ShdPnd"), 16).unwrap();
    assert_eq!(pending() & 0x4002, 0x4002);
    sandbox.wait_until_asleep();
    assert_eq!(pending() & 0x4002, 0x4002);
    sandbox.signal(SIGKILL);
    assert_eq!(sandbox.end().status, Err(SIGKILL));
}
