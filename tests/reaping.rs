//! Orphans leave no zombies, and do not wake pause.

use nix::{
    libc,
    sys::signal::{
        Signal::{SIGKILL, SIGTERM},
        kill,
    },
    unistd::Pid,
};
use sandbox::{Processes, Sandbox, clone, leave, leave_child, program::Program, wait_until};

promises!(
    reaps_orphans_without_waking_up,
    reaps_the_zombies_from_before_it,
    reaps_the_children_from_before_it,
    reaps_every_kind_of_orphan,
);

/// Microseconds: long enough for a child's parent to end first.
const A_MOMENT: libc::c_uint = 20_000;

/// Ends the calling process.
fn end() -> ! {
    // SAFETY: a system call.
    unsafe { libc::_exit(0) }
}

fn sleep_for(microseconds: libc::c_uint) {
    // SAFETY: a system call.
    unsafe { libc::usleep(microseconds) };
}

/// Waits until all children are reaped. pause must still sleep, and must not have woken up since it had
/// slept `before` times.
fn expect_none_left(sandbox: &Sandbox, before: u64) {
    wait_until("all reaped", || sandbox.children().is_empty());
    sandbox.wait_until_asleep();
    assert_eq!(sandbox.sleeps(), before);
}

fn reaps_orphans_without_waking_up(program: &Program) {
    let sandbox = Sandbox::start(program);
    let before = sandbox.sleeps();
    sandbox.enter(|| (0..1000).for_each(|_| leave_child(A_MOMENT)));
    expect_none_left(&sandbox, before);
    sandbox.signal(SIGTERM);
    assert_eq!(sandbox.end().status, Ok(0));
}

fn reaps_the_zombies_from_before_it(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        (0..10).for_each(|_| leave_child(0));
        sleep_for(10 * A_MOMENT); // by then the children are zombies
    });
    wait_until("all reaped", || sandbox.children().is_empty());
}

fn reaps_the_children_from_before_it(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        (0..10).for_each(|_| leave_child(100_000_000));
    });
    // pause sleeps while they run: it waited for none.
    let children = sandbox.children();
    assert_eq!(children.len(), 10);
    let before = sandbox.sleeps();
    for child in children {
        kill(child, SIGKILL).unwrap();
    }
    expect_none_left(&sandbox, before);
}

/// Ways to leave an orphan. Whoever calls one ends right after it.
const ORPHANS: [(&str, fn()); 13] = [
    ("dies at once", || leave_child(0)),
    ("dies later", || leave_child(A_MOMENT)),
    ("is cloned without an exit signal", || leave(0, A_MOMENT)),
    ("is cloned with another exit signal", || {
        leave(libc::SIGUSR1, A_MOMENT);
        leave(40, A_MOMENT); // a real-time signal
    }),
    ("is dead when handed over, as are a hundred others", || {
        (0..100).for_each(|_| leave_child(0));
        sleep_for(10 * A_MOMENT); // by then the children are zombies
    }),
    ("is dead when handed over, without an exit signal", || {
        leave(0, 0);
        sleep_for(A_MOMENT);
    }),
    ("is a daemon that forked twice", || {
        if clone(libc::SIGCHLD) == 0 {
            // SAFETY: a system call.
            unsafe { libc::setsid() };
            leave_child(A_MOMENT);
            end();
        }
    }),
    (
        "is the first process of a namespace of its own, with a child",
        || {
            if clone(libc::CLONE_NEWPID | libc::SIGCHLD) == 0 {
                leave_child(10 * A_MOMENT);
                sleep_for(A_MOMENT);
                end();
            }
        },
    ),
    (
        "is stopped, and hung up as its process group is orphaned",
        || {
            // The parent leads a session. It is the last outside the child's process group that could
            // continue it: when the parent ends, the kernel sends the group SIGHUP and SIGCONT.
            // SAFETY: system calls.
            unsafe {
                libc::setsid();
                let stopped = clone(libc::SIGCHLD);
                if stopped == 0 {
                    libc::setpgid(0, 0);
                    libc::kill(libc::getpid(), libc::SIGSTOP);
                    end();
                }
                libc::waitpid(stopped, std::ptr::null_mut(), libc::WUNTRACED);
            }
        },
    ),
    // The tracer is no relative of the orphan: a debugger in another container.
    ("is killed while it is traced", || {
        let orphan = clone(libc::SIGCHLD);
        if orphan == 0 {
            sleep_for(100_000_000);
            end();
        }
        if clone(libc::SIGCHLD) == 0 {
            // SAFETY: system calls.
            unsafe {
                libc::ptrace(libc::PTRACE_SEIZE, orphan, 0, 0);
                sleep_for(A_MOMENT);
                libc::kill(orphan, libc::SIGKILL);
                sleep_for(A_MOMENT);
            }
            end();
        }
    }),
    ("is the last of a thousand generations", || {
        // Each generation starts the next and ends, which orphans the next.
        for _ in 0..1000 {
            if clone(libc::SIGCHLD) != 0 {
                return;
            }
        }
        end();
    }),
    ("is vforked", || {
        // The child's parent waits for it to end, and is an orphan itself by then.
        if clone(libc::SIGCHLD) == 0 {
            leave(libc::CLONE_VFORK | libc::SIGCHLD, A_MOMENT);
            end();
        }
    }),
    ("loses its first thread before its last", || {
        if clone(libc::SIGCHLD) == 0 {
            static mut STACK: [u64; 2048] = [0; 2048];
            extern "C" fn thread(_: *mut libc::c_void) -> libc::c_int {
                sleep_for(A_MOMENT);
                0
            }
            // SAFETY: the thread has its own stack, which lives as long as the process. exit(2) ends
            // the first thread only.
            unsafe {
                let top = (&raw mut STACK).add(1).cast();
                let shared = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
                libc::clone(thread, top, shared, std::ptr::null_mut());
                libc::syscall(libc::SYS_exit, 0);
            }
        }
    }),
];

fn reaps_every_kind_of_orphan(program: &Program) {
    let sandbox = Sandbox::start(program);
    let before = sandbox.sleeps();
    for (kind, leave) in ORPHANS {
        sandbox.enter(leave);
        wait_until(&format!("reaped: an orphan that {kind}"), || {
            sandbox.children().is_empty() && processes_in_namespace_of(&sandbox) == 1
        });
    }
    expect_none_left(&sandbox, before);

    // Orphans killed by each signal that kills, with a core dump or without.
    sandbox.enter(|| {
        for signal in 1..=64 {
            if clone(libc::SIGCHLD) == 0 {
                sleep_for(A_MOMENT);
                // SAFETY: system calls. SIGKILL ends those that survive the signal.
                unsafe {
                    libc::kill(libc::getpid(), signal);
                    libc::kill(libc::getpid(), libc::SIGCONT);
                    libc::kill(libc::getpid(), libc::SIGKILL);
                }
            }
        }
        sleep_for(10 * A_MOMENT);
        // Continues those that stopped themselves. SAFETY: a system call.
        unsafe { libc::kill(-1, libc::SIGCONT) };
    });
    expect_none_left(&sandbox, before);
}

/// How many processes the sandbox's PID namespace has.
fn processes_in_namespace_of(sandbox: &Sandbox) -> usize {
    let namespace = |pid: Pid| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let ours = namespace(sandbox.pid);
    let processes = Processes::here().all();
    processes.filter(|pid| namespace(*pid) == ours).count()
}
