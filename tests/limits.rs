//! What may be done to pause from outside: limits, a freezer, a debugger, a checkpoint. It needs
//! next to nothing, and reaps even where it cannot run, as the kernel does it.

use nix::{
    libc,
    sys::{
        ptrace,
        signal::Signal::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM},
        wait::{WaitStatus, waitpid},
    },
};
use std::{ffi::CString, fs, os::unix::ffi::OsStrExt, path::Path};
use tests::{
    cgroup::Cgroup,
    for_each_program, page_size,
    program::{Program, TERMINATED},
    sandbox::{End, Sandbox, leave_child},
    wait_until,
};

for_each_program!(
    reaps_while_it_is_stopped,
    reaps_while_it_is_frozen,
    leaves_once_it_is_thawed,
    is_the_first_to_be_killed_if_told_so;
    natively: runs_in_sixteen_pages,
    runs_where_there_may_be_one_process,
    sleeps_on_after_a_debugger,
);

fn expect_end(sandbox: Sandbox) {
    sandbox.signal(SIGTERM);
    assert_eq!(sandbox.end(), End::exit(0, "", TERMINATED));
}

/// Writes to a file before the program starts.
fn write_first(file: &Path, text: &'static str) -> impl Fn() + use<> {
    let file = CString::new(file.as_os_str().as_bytes()).unwrap();
    move || {
        // SAFETY: system calls; without the file, the program does not start.
        unsafe {
            let fd = libc::open(file.as_ptr(), libc::O_WRONLY);
            if libc::write(fd, text.as_ptr().cast(), text.len()) != text.len() as isize {
                libc::_exit(126);
            }
            libc::close(fd);
        }
    }
}

/// Leaves orphans to it, some of them dead already, and waits until all are reaped.
pub fn expect_reaping(sandbox: &Sandbox) {
    sandbox.enter(|| {
        for _ in 0..10 {
            leave_child(0);
        }
    });
    wait_until("all reaped", || sandbox.children().is_empty());
}

fn reaps_while_it_is_stopped(program: &Program) {
    let sandbox = Sandbox::start(program);
    sandbox.stop();
    expect_reaping(&sandbox);
    assert!(sandbox.status("State").starts_with('T'));
    sandbox.signal(SIGCONT);
    expect_end(sandbox);
}

fn reaps_while_it_is_frozen(program: &Program) {
    let cgroup = Cgroup::new("freezer");
    let sandbox = Sandbox::start(program);
    cgroup.add(sandbox.pid);
    cgroup.freeze(true);
    expect_reaping(&sandbox);
    cgroup.freeze(false);
    sandbox.wait_until_asleep();
    expect_end(sandbox);
}

fn leaves_once_it_is_thawed(program: &Program) {
    let cgroup = Cgroup::new("freezer");
    let sandbox = Sandbox::start(program);
    cgroup.add(sandbox.pid);
    cgroup.freeze(true);
    sandbox.signal(SIGTERM);
    cgroup.freeze(false);
    assert_eq!(sandbox.end(), End::exit(0, "", TERMINATED));
}

/// A kubelet sets this (-998 for a sandbox); that it lasts is the kernel's doing, and that nothing
/// else comes of it is ours. Only a machine's true root may lower it.
fn is_the_first_to_be_killed_if_told_so(program: &Program) {
    let adjust = write_first(Path::new("/proc/self/oom_score_adj"), "1000");
    let sandbox = Sandbox::start_after(program, adjust);
    let adjusted = fs::read_to_string(format!("/proc/{}/oom_score_adj", sandbox.pid)).unwrap();
    assert_eq!(adjusted, "1000\n");
    expect_reaping(&sandbox);
    expect_end(sandbox);
}

/// 64 KiB of memory in all, where a page has 4 KiB, with the kernel's own for it: in a cgroup from
/// before its start. Natively alone, as is the next: an emulator needs more.
fn runs_in_sixteen_pages(program: &Program) {
    let cgroup = Cgroup::new("memory");
    let limit = 16 * page_size();
    cgroup.limit_memory(limit);
    let sandbox = Sandbox::start_after(program, write_first(&cgroup.door(), "0"));
    expect_reaping(&sandbox);
    let (all, kernel) = cgroup.charged();
    assert!(
        0 < kernel && kernel <= all && all <= limit,
        "{kernel}, {all}"
    );
    expect_end(sandbox);
}

fn runs_where_there_may_be_one_process(program: &Program) {
    let cgroup = Cgroup::new("pids");
    cgroup.limit_processes(1);
    let sandbox = Sandbox::start_after(program, write_first(&cgroup.door(), "0"));
    expect_reaping(&sandbox);
    expect_end(sandbox);
}

/// Attached and detached, once stopped and once not. Natively alone: the debugger would be the
/// emulator's.
fn sleeps_on_after_a_debugger(program: &Program) {
    let sandbox = Sandbox::start(program);
    ptrace::attach(sandbox.pid).unwrap();
    let stopped = waitpid(sandbox.pid, None).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(sandbox.pid, SIGSTOP));
    expect_reaping(&sandbox);
    ptrace::detach(sandbox.pid, None).unwrap();
    sandbox.wait_until_asleep();

    ptrace::seize(sandbox.pid, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(sandbox.pid).unwrap();
    waitpid(sandbox.pid, None).unwrap();
    ptrace::cont(sandbox.pid, None).unwrap();
    expect_reaping(&sandbox);
    // Its debugger sees the signal first, and passes it on.
    sandbox.signal(SIGTERM);
    let stopped = waitpid(sandbox.pid, None).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(sandbox.pid, SIGTERM));
    ptrace::detach(sandbox.pid, SIGTERM).unwrap();
    assert_eq!(sandbox.end(), End::exit(0, "", TERMINATED));

    // With its debugger, it ends like any other.
    let sandbox = Sandbox::start(program);
    ptrace::seize(sandbox.pid, ptrace::Options::PTRACE_O_EXITKILL).unwrap();
    sandbox.signal(SIGKILL);
    assert_eq!(sandbox.end().status, Err(SIGKILL));
}
