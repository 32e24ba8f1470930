//! A short script of pause's behaviour, for any file: natively, or under qemu-user.

use crate::contract::VERSION;
use anyhow::Result;
use nix::{
    libc,
    sched::CloneFlags,
    sys::signal::Signal::{SIGINT, SIGTERM},
};
use sandbox::{
    End, Sandbox, leave_child,
    program::{INTERRUPT, Platform, Program, TERMINATED, WARNING},
    wait_until,
};
use std::{ptr, sync::atomic::Ordering};

/// Starts the file with arguments, beside a zombie. It dies with the caller.
fn start(program: &Program, namespaces: CloneFlags, arguments: &[&str]) -> Sandbox {
    let arguments = arguments.iter().map(|it| it.as_bytes().to_vec());
    let words = program.words().into_iter().chain(arguments);
    Sandbox::run_in(namespaces, words, || {
        leave_child(0);
        // SAFETY: system calls. The second waits until the child is a zombie.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let options = libc::WEXITED | libc::WNOWAIT;
            libc::waitid(libc::P_ALL, 0, ptr::null_mut(), options);
        }
    })
}

/// Runs a program. Panics if it does anything else than pause.
pub fn run(program: crate::Program) -> Result<()> {
    sandbox::become_root();
    sandbox::PATIENCE.store(10, Ordering::Relaxed);
    let name = program.platform.name;
    let program = &Program {
        platform: Platform::of(if name == "arm" { "arm/v6" } else { name }),
        path: program.path,
    };
    let first = CloneFlags::CLONE_NEWPID;
    for arguments in [&["-v"][..], &["sleep", "-V"], &["", "-v", "--"]] {
        let end = start(program, first, arguments).end();
        assert_eq!(end, End::exit(0, VERSION, ""), "{arguments:?}");
    }
    let others = ["", "v", "-vv", "-w", "--version"];
    for (namespaces, warning, signal, line) in [
        (first, "", SIGINT, INTERRUPT),
        (first, "", SIGTERM, TERMINATED),
        (CloneFlags::empty(), WARNING, SIGTERM, TERMINATED),
    ] {
        let sandbox = start(program, namespaces, &others);
        sandbox.wait_until_asleep();
        let has_none = || sandbox.children().is_empty();
        wait_until("the zombie from before is reaped", has_none);
        if namespaces == first {
            sandbox.expect_reaping();
        }
        sandbox.expect_end(signal, &format!("{warning}{line}"));
    }
    Ok(())
}
