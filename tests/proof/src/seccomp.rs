//! A filter of system calls, made of what the machine code was seen to make: runtimes take it with a
//! container (OCI runtime specification, config-linux.md, "Seccomp").

use crate::{
    Binary,
    machine::{cover, numbers},
    scenarios,
};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What runc does after it has loaded the filter and before it executes pause: found by taking away
/// one call after another, with runc 1.1.5, with and without no_new_privileges.
const RUNC: [(&str, &[&str]); 3] = [
    (
        "runc: closes its files, waits to be started, executes pause",
        &[
            "chdir",
            "close",
            "execve",
            "faccessat2",
            "fcntl",
            "fstat",
            "fstatfs",
            "getcwd",
            "getdents64",
            "newfstatat",
            "openat",
            "read",
        ],
    ),
    (
        "runc: becomes the container's user",
        &[
            "capget",
            "capset",
            "getppid",
            "prctl",
            "setgid",
            "setgroups",
            "setuid",
        ],
    ),
    (
        "runc: the runtime of Go, which now and then needs one of these",
        &[
            "clone",
            "epoll_ctl",
            "epoll_pwait",
            "exit",
            "futex",
            "gettid",
            "madvise",
            "mmap",
            "munmap",
            "nanosleep",
            "rt_sigprocmask",
            "rt_sigreturn",
            "sched_yield",
            "sigaltstack",
            "tgkill",
        ],
    ),
];

/// The calls that the binary makes in all scenarios, by name.
///
/// # Errors
///
/// A scenario that does not happen as told, or a call that pause must not make.
pub fn calls(binary: &Binary) -> Result<BTreeSet<&'static str>> {
    let coverage = cover(binary, &scenarios::all(binary.arch))?;
    let numbers = numbers(binary.arch);
    let mut calls = BTreeSet::new();
    for made in coverage.calls {
        calls.insert(match made {
            it if it == numbers.getpid => "getpid",
            it if it == numbers.write => "write",
            it if it == numbers.rt_sigaction => "rt_sigaction",
            it if it == numbers.wait4 => "wait4",
            it if Some(it) == numbers.pause => "pause",
            it if Some(it) == numbers.ppoll => "ppoll",
            it if it == numbers.exit_group => "exit_group",
            other => bail!("{}: makes system call {other}", binary.name()),
        });
    }
    Ok(calls)
}

/// The profile for these binaries, as JSON.
///
/// # Errors
///
/// As [`calls`].
pub fn profile(binaries: &[Binary]) -> Result<String> {
    let mut own = BTreeSet::new();
    for binary in binaries {
        own.extend(calls(binary)?);
    }
    let allow = |comment: &str, names: Vec<&str>| -> Value {
        json!({"names": names, "action": "SCMP_ACT_ALLOW", "comment": comment})
    };
    let mut syscalls = vec![allow(
        "pause: all that it ever makes",
        own.into_iter().collect(),
    )];
    syscalls.extend(RUNC.map(|(comment, names)| allow(comment, names.to_vec())));
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": syscalls,
    });
    Ok(format!("{profile:#}\n"))
}
