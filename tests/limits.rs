//! pause under limits, a freezer and a debugger. It needs next to nothing, and orphans are reaped even while
//! it cannot run, because the kernel does that.

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
    reaps_while_it_is_frozen_and_leaves_once_it_is_thawed,
    is_the_first_to_be_killed_if_told_so;
    natively: runs_in_sixteen_pages,
    runs_where_there_may_be_one_process,
    sleeps_on_after_a_debugger,
);

/// Returns a function that writes to a file before the program starts. If that fails, the process exits
/// with 126 instead of starting the program.
fn write_first(file: &Path, text: &'static str) -> impl Fn() + use<> {
    let file = CString::new(file.as_os_str().as_bytes()).unwrap();
    move || {
        // SAFETY: system calls.
        unsafe {
            let fd = libc::open(file.as_ptr(), libc::O_WRONLY);
            if libc::write(fd, text.as_ptr().cast(), text.len()) != text.len() as isize {
                libc::_exit(126);
            }
            libc::close(fd);
        }
    }
}

/// Leaves ten orphans, some of them dead already, and waits until all are reaped.
pub fn expect_reaping(sandbox: &Sandbox) {
    sandbox.enter(|| (0..10).for_each(|_| leave_child(0)));
    wait_until("all reaped", || sandbox.children().is_empty());
}

fn reaps_while_it_is_stopped(program: &Program) {
    let sandbox = Sandbox::start(program);
    sandbox.stop();
    expect_reaping(&sandbox);
    assert!(sandbox.status("State").starts_with('T'));
    sandbox.signal(SIGCONT);
    sandbox.expect_end(SIGTERM, TERMINATED);
}

fn reaps_while_it_is_frozen_and_leaves_once_it_is_thawed(program: &Program) {
    let cgroup = Cgroup::new("freezer");
    let sandbox = Sandbox::start(program);
    cgroup.add(sandbox.pid);
    cgroup.freeze(true);
    expect_reaping(&sandbox);
    cgroup.freeze(false);
    sandbox.wait_until_asleep();

    cgroup.freeze(true);
    sandbox.signal(SIGTERM);
    cgroup.freeze(false);
    assert_eq!(sandbox.end(), End::exit(0, "", TERMINATED));
}

/// A kubelet sets oom_score_adj to -998 for a sandbox; lowering it takes a capability that a test may lack.
fn is_the_first_to_be_killed_if_told_so(program: &Program) {
    let adjust = write_first(Path::new("/proc/self/oom_score_adj"), "1000");
    let sandbox = Sandbox::start_after(program, adjust);
    let adjusted = fs::read_to_string(format!("/proc/{}/oom_score_adj", sandbox.pid)).unwrap();
    assert_eq!(adjusted, "1000\n");
    expect_reaping(&sandbox);
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// 64 KiB where a page has 4 KiB, kernel memory included, limited before pause starts. Native programs only,
/// as is the next test: an emulator needs more.
fn runs_in_sixteen_pages(program: &Program) {
    let cgroup = Cgroup::new("memory");
    let limit = 16 * page_size();
    cgroup.limit_memory(limit);
    let sandbox = Sandbox::start_after(program, write_first(&cgroup.door(), "0"));
    expect_reaping(&sandbox);
    let (all, kernel) = cgroup.charged();
    let is_within = 0 < kernel && kernel <= all && all <= limit;
    assert!(is_within, "charged: {kernel} of {all} bytes; limit {limit}");
    sandbox.expect_end(SIGTERM, TERMINATED);
}

fn runs_where_there_may_be_one_process(program: &Program) {
    let cgroup = Cgroup::new("pids");
    cgroup.limit_processes(1);
    let sandbox = Sandbox::start_after(program, write_first(&cgroup.door(), "0"));
    expect_reaping(&sandbox);
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// A debugger attaches and detaches, once with a stop and once without. Native programs only: it would
/// debug an emulator.
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
