//! Orphans leave nothing behind, and do not wake pause.

use nix::{libc, sys::signal::Signal::SIGTERM};
use tests::{for_each_program, program::Program, sandbox::Sandbox, wait_until};

for_each_program!(
    reaps_orphans_without_waking_up,
    reaps_orphans_that_are_dead_already,
    reaps_the_zombies_from_before_it,
    reaps_the_children_from_before_it,
);

/// Long enough for its parent to end first, in microseconds.
const A_MOMENT: libc::c_uint = 20_000;

/// Forks a child that ends after a while, in microseconds.
fn fork_child_that_ends_after(microseconds: libc::c_uint) {
    // SAFETY: the child makes system calls and no more. It is forked without libc, whose fork
    // waits for locks that a thread which is not here may hold.
    unsafe {
        match libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
            -1 => libc::_exit(1),
            0 => {
                libc::usleep(microseconds);
                libc::_exit(0)
            }
            _ => {}
        }
    }
}

/// Waits until all is reaped, and sees that pause still sleeps, and had not woken up since it
/// slept `before` times.
fn expect_none_left(sandbox: &Sandbox, before: u64) {
    wait_until("all reaped", || sandbox.children().is_empty());
    sandbox.wait_until_asleep();
    assert_eq!(sandbox.sleeps(), before);
}

fn reaps_orphans_without_waking_up(program: &Program) {
    let sandbox = Sandbox::start(program);
    let before = sandbox.sleeps();
    sandbox.enter(|| (0..1000).for_each(|_| fork_child_that_ends_after(A_MOMENT)));
    expect_none_left(&sandbox, before);
    sandbox.signal(SIGTERM);
    assert_eq!(sandbox.end().status, Ok(0));
}

fn reaps_orphans_that_are_dead_already(program: &Program) {
    let sandbox = Sandbox::start(program);
    let before = sandbox.sleeps();
    sandbox.enter(|| {
        (0..100).for_each(|_| fork_child_that_ends_after(0));
        // SAFETY: a system call. By its end the children are zombies.
        unsafe { libc::usleep(10 * A_MOMENT) };
    });
    expect_none_left(&sandbox, before);
}

fn reaps_the_zombies_from_before_it(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        (0..10).for_each(|_| fork_child_that_ends_after(0));
        // SAFETY: a system call. By its end the children are zombies.
        unsafe { libc::usleep(10 * A_MOMENT) };
    });
    wait_until("all reaped", || sandbox.children().is_empty());
}

fn reaps_the_children_from_before_it(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        (0..10).for_each(|_| fork_child_that_ends_after(25 * A_MOMENT));
    });
    let before = sandbox.sleeps();
    expect_none_left(&sandbox, before);
}
