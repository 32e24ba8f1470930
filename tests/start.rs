//! pause starts with odd arguments, with closed, full or broken files, in an empty root file system, without
//! rights, and with hardly any memory.

use nix::{
    libc::{self, c_int},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::CloneFlags,
    sys::{
        resource::{Resource::*, rlim_t, setrlimit},
        signal::Signal::SIGTERM,
    },
    unistd::{chdir, dup2_stderr, pivot_root},
};
use sandbox::{
    End, Sandbox, become_nobody, clone, fill_standard_error, page_size,
    program::{Program, TERMINATED},
    take_user, wait_until,
};
use std::{
    ffi::{CStr, CString},
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
};

promises!(
    sleeps_whatever_its_arguments,
    exits_if_it_cannot_write,
    waits_for_a_reader_of_a_full_pipe,
    needs_no_rights;
    natively: starts_without_arguments_at_all,
    needs_hardly_any_memory,
    needs_no_other_file,
    needs_no_user,
    needs_no_other_system_call,
    exits_if_it_may_not_sleep,
    exits_if_an_action_is_refused,
    ignores_failed_writes,
    sleeps_again_if_interrupted,
    sleeps_even_if_wait4_fails,
);

/// The numbers of pause's system calls: the one it sleeps in, rt_sigaction(2), and the others. Tests built
/// for amd64 also run 386's program, whose numbers differ.
fn calls_of(program: &Program) -> [libc::c_long; 6] {
    if program.platform.arch == "386" {
        return [29, 174, 20, 4, 114, 252]; // arch/x86/entry/syscalls/syscall_32.tbl
    }
    #[cfg(not(any(
        target_arch = "aarch64",
        target_arch = "loongarch64",
        target_arch = "riscv64"
    )))]
    let sleep = libc::SYS_pause;
    #[cfg(any(
        target_arch = "aarch64",
        target_arch = "loongarch64",
        target_arch = "riscv64"
    ))]
    let sleep = libc::SYS_ppoll;
    [
        sleep,
        libc::SYS_rt_sigaction,
        libc::SYS_getpid,
        libc::SYS_write,
        libc::SYS_wait4,
        libc::SYS_exit_group,
    ]
}

fn sleeps_whatever_its_arguments(program: &Program) {
    for arguments in [
        vec![vec![]],
        vec![vec![]; 4096],
        vec![b"x".to_vec(); 4096],
        // The longest that Linux accepts, with its null byte (execve(2), MAX_ARG_STRLEN).
        vec![vec![b'v'; (128 << 10) - 1]],
        vec![[b"-v".to_vec(), vec![b'v'; (128 << 10) - 3]].concat()],
        (1..=255).map(|byte| vec![byte]).collect(),
        (1..=255).map(|byte| vec![b'-', byte, b'v']).collect(),
        (1..=255)
            .filter(|byte| !b"vV".contains(byte))
            .map(|byte| vec![b'-', byte])
            .collect(),
        (1..=255)
            .filter(|byte| *byte != b'-')
            .map(|byte| vec![byte, b'v'])
            .collect(),
    ] {
        let sandbox = Sandbox::run_after(program, arguments, || {});
        sandbox.wait_until_asleep();
        sandbox.expect_end(SIGTERM, TERMINATED);
    }
}

/// Native programs only: an emulator does not start without `argv[0]`.
fn starts_without_arguments_at_all(program: &Program) {
    // Without argv[0]; Linux 5.18 and newer add an empty one.
    let path = program.path.as_os_str().as_bytes();
    let sandbox = Sandbox::execute(CloneFlags::CLONE_NEWPID, path, vec![], || {});
    sandbox.wait_until_asleep();
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// Standard error is closed, a pipe that nobody reads, or on a full disk.
fn exits_if_it_cannot_write(program: &Program) {
    // SAFETY: a system call.
    let close = || (0..=2).for_each(|file| unsafe { _ = libc::close(file) });
    Sandbox::start_after(program, close).expect_end(SIGTERM, "");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, unread) = io::pipe().unwrap();
    drop(reader);
    // (SIGPIPE does not reach a PID 1 that has no handler for it.)
    for file in [full.as_fd(), unread.as_fd()] {
        let write_there = || _ = dup2_stderr(file);
        Sandbox::start_after(program, write_there).expect_end(SIGTERM, "");
    }
}

/// A slow reader gets the whole line. (If nobody ever reads, the runtime kills pause.)
fn waits_for_a_reader_of_a_full_pipe(program: &Program) {
    let sandbox = Sandbox::start_after(program, fill_standard_error);
    sandbox.signal(SIGTERM);
    let End { status, stderr, .. } = sandbox.end();
    let line = stderr.trim_start_matches('x');
    assert_eq!((status, line), (Ok(0), TERMINATED));
}

/// The user is nobody, has no capabilities, and can gain none.
fn needs_no_rights(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        // SAFETY: system calls.
        unsafe {
            for capability in 0..64 {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        }
        become_nobody();
    });
    assert_eq!(sandbox.status("CapPrm"), "0000000000000000");
    assert_eq!(sandbox.status("CapBnd"), "0000000000000000");
    assert_eq!(sandbox.status("NoNewPrivs"), "1");
    // The namespace of a user that runs the tests has no second user.
    let users = fs::read_to_string("/proc/self/uid_map").unwrap();
    let nobody = if users.trim_end().ends_with(" 1") {
        "0"
    } else {
        "65535"
    };
    assert_eq!(sandbox.status("Uid").split('\t').next(), Some(nobody));
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// Native programs only: an emulator needs more.
fn needs_hardly_any_memory(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        // The kernel itself needs four pages of stack, and five in all, for arguments and environment.
        let page = page_size() as rlim_t;
        for (resource, limit) in [
            (RLIMIT_DATA, 0),
            (RLIMIT_NOFILE, 0),
            (RLIMIT_NPROC, 1),
            (RLIMIT_MEMLOCK, 0),
            (RLIMIT_FSIZE, 0),
            (RLIMIT_STACK, 8 * page),
            (RLIMIT_AS, 16 * page),
        ] {
            _ = setrlimit(resource, limit, limit);
        }
    });
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// The root file system is read-only and has only the program in it: no /proc, no /dev. Native programs
/// only: it has no emulator either.
fn needs_no_other_file(program: &Program) {
    let root = tempfile::tempdir().unwrap();
    fs::copy(&program.path, root.path().join("pause")).unwrap();
    let directory = CString::new(root.path().as_os_str().as_bytes()).unwrap();
    let namespaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    let sandbox = Sandbox::execute(namespaces, b"/pause", vec![b"/pause".into()], || {
        let (root, none, bind) = (&*directory, None::<&CStr>, MsFlags::MS_BIND);
        let read_only = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        // nix allocates nothing for a CStr.
        let moved = mount(
            none,
            c"/",
            none,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            none,
        )
        .and_then(|()| mount(Some(root), root, none, bind, none))
        .and_then(|()| mount(none, root, none, read_only, none))
        .and_then(|()| chdir(root))
        .and_then(|()| pivot_root(c".", c"."))
        .and_then(|()| umount2(c".", MntFlags::MNT_DETACH));
        if moved.is_err() {
            // SAFETY: a system call.
            unsafe { libc::_exit(126) };
        }
    });
    sandbox.wait_until_asleep();
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", sandbox.pid)).unwrap();
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    assert!(mounts.contains(" ro,"), "{mounts}");
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// The user namespace maps no user. Native programs only: an emulator's file has no owner there.
fn needs_no_user(program: &Program) {
    let namespaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID;
    let sandbox = Sandbox::start_in(namespaces, program, || {});
    let users = fs::read_to_string(format!("/proc/{}/uid_map", sandbox.pid)).unwrap();
    assert_eq!(users, "");
    let before = sandbox.sleeps();
    sandbox.enter(|| _ = clone(libc::SIGCHLD));
    wait_until("all reaped", || sandbox.children().is_empty());
    assert_eq!(sandbox.sleeps(), before);
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// A function that installs a seccomp(2) filter: the kernel answers these calls so, and all others otherwise. A
/// call is its number and, if it matters, its first argument.
fn filter(
    calls: &[(libc::c_long, Option<c_int>)],
    answer: u32,
    otherwise: u32,
) -> impl Fn() + use<> {
    let step = |code: u32, value: u32, skip_if_not: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: skip_if_not,
        k: value,
    };
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0);
    let compare = |value, skip| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, skip);
    let end = |answer| step(libc::BPF_RET | libc::BPF_K, answer, 0);
    // In `struct seccomp_data`: the number, and the lower half of the first argument.
    let (number_at, argument_at) = (0, if cfg!(target_endian = "big") { 20 } else { 16 });
    let mut steps = Vec::new();
    for (number, argument) in calls {
        let skip = if argument.is_some() { 3 } else { 1 };
        steps.extend([load(number_at), compare(*number as u32, skip)]);
        steps.extend(argument.map(|_| load(argument_at)));
        steps.extend(argument.map(|value| compare(value as u32, 1)));
        steps.push(end(answer));
    }
    steps.push(end(otherwise));
    move || {
        take_user();
        let program = libc::sock_fprog {
            len: steps.len() as u16,
            filter: steps.as_ptr().cast_mut(),
        };
        // SAFETY: system calls; the kernel copies the filter.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program);
        }
    }
}

/// A filter by which a call fails with `error`, or returns 0 if that is 0.
fn refuse(call: libc::c_long, argument: Option<c_int>, error: c_int) -> impl Fn() {
    let answer = libc::SECCOMP_RET_ERRNO | error as u32;
    filter(&[(call, argument)], answer, libc::SECCOMP_RET_ALLOW)
}

/// A seccomp filter kills on any system call but pause's own and the execve(2) before them. Native programs
/// only: an emulator makes more.
fn needs_no_other_system_call(program: &Program) {
    let calls = calls_of(program).into_iter().chain([libc::SYS_execve]);
    let calls: Vec<_> = calls.map(|it| (it, None)).collect();
    let (allow, kill) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS);
    let sandbox = Sandbox::start_after(program, filter(&calls, allow, kill));
    assert_eq!(sandbox.status("Seccomp"), "2");
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// If a filter refuses the sleep, pause leaves with 4 instead of trying in a loop. Native programs only, as
/// is the next test: the filter would apply to an emulator.
fn exits_if_it_may_not_sleep(program: &Program) {
    // All of Linux's errors (include/uapi/asm-generic/errno.h) but EINTR, and numbers up to the largest
    // that a filter may return (MAX_ERRNO in include/linux/err.h); some end in EINTR's byte.
    let errors = (1..=133).chain([256, 260, 516, 0x804, 4095]);
    let [sleep, ..] = calls_of(program);
    for error in errors.filter(|error| *error != libc::EINTR) {
        let sandbox = Sandbox::run_after(program, vec![], refuse(sleep, None, error));
        assert_eq!(sandbox.end(), End::exit(4, "", ""), "{error}");
    }
}

/// The exit code says which action the kernel refused. seccomp sees the signal, the first argument.
fn exits_if_an_action_is_refused(program: &Program) {
    let [_, rt_sigaction, ..] = calls_of(program);
    for (code, signal) in [(1, libc::SIGINT), (2, libc::SIGTERM), (3, libc::SIGCHLD)] {
        let refused = refuse(rt_sigaction, Some(signal), libc::EINVAL);
        let sandbox = Sandbox::run_after(program, vec![], refused);
        assert_eq!(sandbox.end(), End::exit(code, "", ""));
    }
}

/// A write that fails, or that the kernel cuts to nothing, is not repeated.
fn ignores_failed_writes(program: &Program) {
    let [_, _, _, write, ..] = calls_of(program);
    for error in [0, libc::EAGAIN, libc::EINTR, libc::EIO] {
        let fail = refuse(write, None, error);
        Sandbox::start_after(program, &fail).expect_end(SIGTERM, "");
        let asked = Sandbox::run_after(program, vec!["-v".into()], &fail);
        assert_eq!(asked.end(), End::exit(0, "", ""), "{error}");
    }
}

/// It goes on sleeping, which a filter that answers EINTR for ever turns into a loop.
fn sleeps_again_if_interrupted(program: &Program) {
    let [sleep, ..] = calls_of(program);
    let sandbox = Sandbox::run_after(program, vec![], refuse(sleep, None, libc::EINTR));
    sandbox.wait_until_it_ignores_sigchld();
    std::thread::sleep(std::time::Duration::from_millis(10));
    sandbox.expect_end(SIGTERM, TERMINATED);
}

fn sleeps_even_if_wait4_fails(program: &Program) {
    let [_, _, _, _, wait4, _] = calls_of(program);
    for error in [libc::EINTR, libc::ENOSYS, libc::ECHILD, libc::EPERM] {
        let fail = refuse(wait4, None, error);
        Sandbox::start_after(program, fail).expect_end(SIGTERM, TERMINATED);
    }
}
