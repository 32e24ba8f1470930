//! pause while it is stopped or traced. It needs next to nothing, and orphans are reaped even while
//! it cannot run, because the kernel does that.

use nix::sys::{
    ptrace,
    signal::Signal::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM},
    wait::{WaitStatus, waitpid},
};
use sandbox::{
    End, Sandbox,
    program::{Program, TERMINATED},
};

promises!(
    reaps_while_stopped;
    natively: sleeps_on_after_a_debugger,
);

fn reaps_while_stopped(program: &Program) {
    let sandbox = Sandbox::start(program);
    sandbox.stop();
    sandbox.expect_reaping();
    assert!(sandbox.status("State").starts_with('T'));
    sandbox.signal(SIGCONT);
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// A debugger attaches and detaches, once with a stop and once without. Native programs only: it would
/// debug an emulator.
fn sleeps_on_after_a_debugger(program: &Program) {
    let sandbox = Sandbox::start(program);
    ptrace::attach(sandbox.pid).unwrap();
    let stopped = waitpid(sandbox.pid, None).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(sandbox.pid, SIGSTOP));
    sandbox.expect_reaping();
    ptrace::detach(sandbox.pid, None).unwrap();
    sandbox.wait_until_asleep();

    ptrace::seize(sandbox.pid, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(sandbox.pid).unwrap();
    waitpid(sandbox.pid, None).unwrap();
    ptrace::cont(sandbox.pid, None).unwrap();
    sandbox.expect_reaping();
    // The debugger gets the signal first, and passes it on.
    sandbox.signal(SIGTERM);
    let stopped = waitpid(sandbox.pid, None).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(sandbox.pid, SIGTERM));
    ptrace::detach(sandbox.pid, SIGTERM).unwrap();
    assert_eq!(sandbox.end(), End::exit(0, "", TERMINATED));

    // A traced pause can be killed.
    let sandbox = Sandbox::start(program);
    ptrace::seize(sandbox.pid, ptrace::Options::PTRACE_O_EXITKILL).unwrap();
    sandbox.signal(SIGKILL);
    assert_eq!(sandbox.end().status, Err(SIGKILL));
}
