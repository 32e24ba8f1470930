//! A million orphans: `make test-scale`, minutes.

use nix::{libc, sys::signal::Signal::SIGTERM};
use sandbox::{Sandbox, clone, leave_child, program::Program, wait_until};
use std::time::Instant;

const ORPHANS: usize = 1_000_000;

/// Leaves an orphan: a grandchild that ends at once, before or after its parent.
fn leave_orphan() {
    let parent = clone(libc::SIGCHLD);
    // SAFETY: system calls.
    unsafe {
        if parent == 0 {
            leave_child(0);
            libc::_exit(0);
        }
        libc::waitpid(parent, std::ptr::null_mut(), 0);
    }
}

#[test]
fn a_million_orphans_do_not_wake_it() {
    let sandbox = Sandbox::start(&Program::native());
    let counts = || {
        let memory = ["VmSize", "VmRSS", "VmPTE"].map(|it| sandbox.status(it));
        (sandbox.sleeps(), memory)
    };
    let (before, start) = (counts(), Instant::now());
    sandbox.enter(|| (0..ORPHANS).for_each(|_| leave_orphan()));
    wait_until("all reaped", || sandbox.children().is_empty());
    println!("{ORPHANS} orphans in {:?}", start.elapsed());
    println!("how often it went to sleep, and its memory: {before:?}");
    assert_eq!(counts(), before);
    sandbox.signal(SIGTERM);
    assert_eq!(sandbox.end().status, Ok(0));
}
