//! pause starts with odd arguments, with closed, full or broken files, in an empty root file system, without
//! rights, and with hardly any memory.

use nix::{
    libc::{self, c_int},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::CloneFlags,
    sys::signal::{
        Signal::{SIGKILL, SIGTERM},
        kill,
    },
    unistd::{Pid, chdir, pivot_root},
};
use std::{
    ffi::{CStr, CString},
    fs,
    os::unix::ffi::OsStrExt,
};
use tests::{
    for_each_program, page_size,
    program::{Program, TERMINATED},
    sandbox::{End, Sandbox, become_nobody, clone, fill_standard_error, take_user},
    wait_until,
};

for_each_program!(
    sleeps_whatever_its_arguments_are,
    leaves_where_it_cannot_write,
    waits_for_a_reader_of_a_full_pipe,
    needs_no_rights;
    natively: starts_without_arguments_at_all,
    needs_hardly_any_memory,
    needs_no_other_file,
    needs_no_user,
    needs_no_other_system_call,
    leaves_where_it_may_not_sleep,
    leaves_where_an_action_is_refused,
);

/// The numbers of pause's system calls: the one it sleeps in, rt_sigaction(2), and the others. Tests built
/// for amd64 also run 386's program, whose numbers differ.
fn calls_of(program: &Program) -> [libc::c_long; 6] {
    if program.platform.arch == "386" {
        return [29, 174, 20, 4, 114, 252]; // arch/x86/entry/syscalls/syscall_32.tbl
    }
    #[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
    let sleep = libc::SYS_pause;
    #[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
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

fn sleeps_whatever_its_arguments_are(program: &Program) {
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
        let sandbox = Sandbox::run([program.words(), arguments].concat());
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
fn leaves_where_it_cannot_write(program: &Program) {
    // SAFETY: system calls. (SIGPIPE does not reach a PID 1 that has no handler for it.)
    let setups: [fn(); 3] = [
        || (0..=2).for_each(|file| unsafe { _ = libc::close(file) }),
        || unsafe {
            let mut pipe: [c_int; 2] = [0; 2];
            libc::pipe(pipe.as_mut_ptr());
            libc::dup2(pipe[1], 2);
            libc::close(pipe[0]);
            libc::close(pipe[1]);
        },
        || unsafe {
            let full = libc::open(c"/dev/full".as_ptr(), libc::O_WRONLY);
            libc::dup2(full, 2);
            libc::close(full);
        },
    ];
    for setup in setups {
        Sandbox::start_after(program, setup).expect_end(SIGTERM, "");
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
    assert!(sandbox.status("Uid").starts_with("65535\t65535"));
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// Native programs only: an emulator needs more.
fn needs_hardly_any_memory(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        let limit = |resource, bytes: u64| {
            let limit = libc::rlimit {
                rlim_cur: bytes as libc::rlim_t,
                rlim_max: bytes as libc::rlim_t,
            };
            // SAFETY: a system call on a struct of our own.
            unsafe { libc::setrlimit(resource, &limit) };
        };
        limit(libc::RLIMIT_DATA, 0);
        limit(libc::RLIMIT_NOFILE, 0);
        limit(libc::RLIMIT_NPROC, 1);
        limit(libc::RLIMIT_MEMLOCK, 0);
        limit(libc::RLIMIT_FSIZE, 0);
        // The kernel itself needs four pages of stack, and five in all, for arguments and environment.
        let page = page_size();
        limit(libc::RLIMIT_STACK, 8 * page);
        limit(libc::RLIMIT_AS, 16 * page);
    });
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// The root file system is read-only and has only the program in it: no /proc, no /dev. Native programs
/// only: it has no emulator either.
fn needs_no_other_file(program: &Program) {
    let root = tempfile::tempdir().unwrap();
    fs::copy(&program.path, root.path().join("pause")).unwrap();
    let folder = CString::new(root.path().as_os_str().as_bytes()).unwrap();
    let namespaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    let sandbox = Sandbox::execute(namespaces, b"/pause", vec![b"/pause".into()], || {
        let (root, none, bind) = (&*folder, None::<&CStr>, MsFlags::MS_BIND);
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

/// Installs a seccomp(2) filter that answers `listed` for each of `calls`, and `other` for all others.
/// Makes system calls and no more.
fn filter_calls<const N: usize>(calls: [libc::c_long; N], listed: u32, other: u32) {
    take_user();
    // The filter's input begins with the call's number (struct seccomp_data).
    let step = |code: u32, jump, k| libc::sock_filter {
        code: code as u16,
        jt: jump,
        jf: 0,
        k,
    };
    let mut filter = [step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0); 16];
    for (place, call) in (1..).zip(calls) {
        // On a match, jumps over the other comparisons and over `other`, to `listed`.
        let rest = (N - place + 1) as u8;
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        filter[place] = step(equal, rest, call as u32);
    }
    filter[N + 1] = step(libc::BPF_RET | libc::BPF_K, 0, other);
    filter[N + 2] = step(libc::BPF_RET | libc::BPF_K, 0, listed);
    let program = libc::sock_fprog {
        len: N as u16 + 3,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: system calls; the kernel copies the filter.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program);
    }
}

/// A seccomp filter kills on any system call but pause's own and the execve(2) before them. Native programs
/// only: an emulator makes more.
fn needs_no_other_system_call(program: &Program) {
    let [first, second, third, fourth, fifth, sixth] = calls_of(program);
    let execve = libc::SYS_execve;
    let calls = [execve, first, second, third, fourth, fifth, sixth];
    let (allow, kill) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS);
    let sandbox = Sandbox::start_after(program, || filter_calls(calls, allow, kill));
    assert_eq!(sandbox.status("Seccomp"), "2");
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// If a filter refuses the sleep, pause leaves with 4 instead of trying in a loop. Native programs only, as
/// is the next test: the filter would apply to an emulator.
fn leaves_where_it_may_not_sleep(program: &Program) {
    // All of Linux's errors (include/uapi/asm-generic/errno.h) but EINTR, and numbers up to the largest
    // that a filter may return (MAX_ERRNO in include/linux/err.h); some end in EINTR's byte.
    let errors = (1..=133).chain([256, 260, 516, 0x804, 4095]);
    let [sleep, ..] = calls_of(program);
    for error in errors.filter(|error| *error != libc::EINTR as u32) {
        let sandbox = Sandbox::run_after(program, || {
            let refuse = libc::SECCOMP_RET_ERRNO | error;
            filter_calls([sleep], refuse, libc::SECCOMP_RET_ALLOW);
        });
        assert_eq!(sandbox.end(), End::exit(4, "", ""), "{error}");
    }
}

fn leaves_where_an_action_is_refused(program: &Program) {
    let [_, rt_sigaction, ..] = calls_of(program);
    let sandbox = Sandbox::run_after(program, || {
        let refuse = libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32;
        filter_calls([rt_sigaction], refuse, libc::SECCOMP_RET_ALLOW);
    });
    assert_eq!(sandbox.end(), End::exit(1, "", ""));
}

/// Runs each native program under strace, which is the first process, and passes it to `expect`. strace
/// makes calls fail as `injection` says, where SLEEP is the call that pause sleeps in. Native programs only:
/// strace would see an emulator's calls.
fn under_strace(injection: &str, arguments: &[&str], expect: impl Fn(&Program, Sandbox)) {
    for program in Program::natives() {
        let path = program.path.to_str().unwrap();
        let inject = injection.replace("SLEEP", program.platform.sleep);
        let inject = format!("--inject={inject}");
        let strace = ["/usr/bin/strace", "-qq", "-o", "/dev/null", &inject, path];
        expect(&program, Sandbox::run([&strace, arguments].concat()));
    }
}

/// Waits until the program under strace sleeps, and returns its process.
fn sleeper_under(strace: &Sandbox, program: &Program) -> Pid {
    let [sleep, ..] = calls_of(program);
    let mut sleeper = None;
    wait_until("asleep", || {
        sleeper = strace.children().first().copied();
        sleeper.is_some_and(|pid| {
            // strace starts other children first, to test what the kernel supports.
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            let call = fs::read_to_string(format!("/proc/{pid}/syscall"));
            name.is_ok_and(|name| name == "pause\n")
                && call.is_ok_and(|call| call.starts_with(&format!("{sleep} ")))
        })
    });
    sleeper.unwrap()
}

/// A write that fails or is cut short is not repeated.
#[test]
fn leaves_all_the_same_where_a_write_fails() {
    for fault in [
        "error=EPIPE",
        "error=EAGAIN",
        "error=EINTR",
        "error=EIO",
        "error=EBADF",
        "error=ENOSPC",
        "retval=0",
        "retval=1",
        "retval=37",
    ] {
        let injection = format!("write:{fault}");
        under_strace(&injection, &[], |program, strace| {
            kill(sleeper_under(&strace, program), SIGTERM).unwrap();
            assert_eq!(strace.end().status, Ok(0), "{fault}");
        });
        under_strace(&injection, &["-v"], |_, strace| {
            assert_eq!(strace.end().status, Ok(0), "{fault}");
        });
    }
}

#[test]
fn sleeps_again_where_it_was_interrupted() {
    let injection = "SLEEP:error=EINTR:when=1..1000";
    under_strace(injection, &[], |program, strace| {
        kill(sleeper_under(&strace, program), SIGTERM).unwrap();
        assert_eq!(strace.end().status, Ok(0));
    });
}

#[test]
fn sleeps_all_the_same_where_waiting_fails() {
    for error in ["EINTR", "ENOSYS", "ECHILD", "EPERM"] {
        let injection = format!("wait4:error={error}");
        under_strace(&injection, &[], |program, strace| {
            kill(sleeper_under(&strace, program), SIGKILL).unwrap();
            assert_eq!(strace.end().status, Ok(128 + SIGKILL as i32), "{error}");
        });
    }
}
