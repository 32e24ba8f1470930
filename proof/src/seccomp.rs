//! The seccomp profile, from the system calls that the proof finds in the machine code (OCI runtime
//! specification, config-linux.md, "Seccomp").

use crate::{Program, Report, compare, platform::PLATFORMS};
use anyhow::Result;
use itertools::Itertools;
use serde_json::json;
use std::{collections::BTreeSet, iter};

/// The system calls that a runtime makes between loading the profile and executing pause. They were found
/// by removing one after another, with runc 1.1.5 and 1.3.6 and crun 1.8.1, 1.21 and 1.28, with and
/// without no_new_privileges.
const RUNTIMES: &str = "
runc: closes its files, waits to be started, executes pause | chdir close execve faccessat2 fcntl fstat \
    fstatfs getcwd getdents64 newfstatat openat read
runc: becomes the container's user | capget capset getppid prctl setgid setgroups setuid
runc 1.3: sees that /proc is not overmounted | openat2 statx
crun: waits to be started, becomes the container's user | pselect6 setresgid setresuid
runc: the runtime of Go, which now and then needs one of these | clone epoll_ctl epoll_pwait exit futex \
    gettid madvise mmap munmap nanosleep rt_sigprocmask rt_sigreturn sched_yield sigaltstack tgkill
";

/// Compares examples/seccomp.json with the system calls of these programs, or writes it.
pub fn check(proved: &[(Program, Report)], write: bool) -> Result<()> {
    let calls: BTreeSet<_> = proved.iter().flat_map(|it| &it.1.calls).copied().collect();
    compare("examples/seccomp.json", &profile(&calls), write)
}

/// The profile for programs that make these calls, as JSON. Calls have the same names everywhere.
fn profile(calls: &BTreeSet<&str>) -> String {
    let own = calls.iter().join(" ");
    let runtimes = RUNTIMES.lines().filter_map(|it| it.split_once(" | "));
    let all = iter::once(("pause: all that it ever makes", &*own)).chain(runtimes);
    let allow = |(comment, names): (_, &str)| {
        let names: Vec<&str> = names.split(' ').collect();
        json!({"names": names, "action": "SCMP_ACT_ALLOW", "comment": comment})
    };
    let syscalls: Vec<_> = all.map(allow).collect();
    let architectures: Vec<_> = PLATFORMS.iter().filter_map(|it| it.seccomp).collect();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures,
        "syscalls": syscalls,
    });
    format!("{profile:#}\n")
}
