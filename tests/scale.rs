//! A million orphans, and a thousand sandboxes. `make test-scale`: minutes.

use nix::{libc, sys::signal::Signal::SIGTERM};
use sandbox::{
    End, Sandbox, clone,
    program::{Program, TERMINATED},
    wait_until,
};
use std::time::Instant;

const ORPHANS: usize = 1_000_000;
const SANDBOXES: usize = 1_000;

/// Leaves an orphan: a grandchild that ends at once, before or after its parent.
fn leave_orphan() {
    let parent = clone(libc::SIGCHLD);
    // SAFETY: system calls.
    unsafe {
        if parent == 0 {
            clone(libc::SIGCHLD);
            libc::_exit(0);
        }
        libc::waitpid(parent, std::ptr::null_mut(), 0);
    }
}

#[test]
fn a_million_orphans_do_not_wake_it() {
    let program = Program::native();
    let sandbox = Sandbox::start(&program);
    let memory = |sandbox: &Sandbox| ["VmSize", "VmRSS", "VmPTE"].map(|it| sandbox.status(it));
    let (sleeps, before) = (sandbox.sleeps(), memory(&sandbox));
    let start = Instant::now();
    sandbox.enter(|| (0..ORPHANS).for_each(|_| leave_orphan()));
    wait_until("all reaped", || sandbox.children().is_empty());
    println!(
        "{ORPHANS} orphans in {:?}; memory {before:?}",
        start.elapsed()
    );
    println!(
        "it went to sleep {sleeps} times before, {} after",
        sandbox.sleeps()
    );
    assert_eq!(sandbox.sleeps(), sleeps);
    assert!(sandbox.sleeps() <= 3);
    assert_eq!(memory(&sandbox), before);
    sandbox.signal(SIGTERM);
    assert_eq!(sandbox.end().status, Ok(0));
}

#[test]
fn a_thousand_sandboxes_leave_when_told() {
    let program = Program::native();
    let sandboxes: Vec<Sandbox> = (0..SANDBOXES).map(|_| Sandbox::start(&program)).collect();
    for sandbox in &sandboxes {
        sandbox.enter(|| (0..10).for_each(|_| leave_orphan()));
    }
    for sandbox in &sandboxes {
        sandbox.signal(SIGTERM);
    }
    for sandbox in sandboxes {
        assert_eq!(sandbox.end(), End::exit(0, "", TERMINATED));
    }
}
