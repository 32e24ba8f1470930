//! The places that pause may be started in: odd arguments, files that are closed, full or broken,
//! no root file system to speak of, no rights, hardly any memory.

use nix::{
    libc::{self, c_int},
    sys::signal::{
        Signal::{SIGKILL, SIGTERM},
        kill,
    },
    unistd::Pid,
};
use std::{fs, process::Command};
use tests::{
    for_each_program,
    program::{Program, TERMINATED},
    sandbox::{End, Sandbox, run},
    wait_until,
};

for_each_program!(
    sleeps_whatever_its_arguments_are,
    leaves_without_files,
    leaves_where_nobody_reads,
    leaves_where_the_disk_is_full,
    waits_for_a_reader_of_a_full_pipe,
    needs_no_rights,
);

/// The system call that pause sleeps in.
#[cfg(target_arch = "x86_64")]
const SLEEP: libc::c_long = libc::SYS_pause;
#[cfg(target_arch = "aarch64")]
const SLEEP: libc::c_long = libc::SYS_ppoll;

/// Ends it with SIGTERM; it must leave with exit code 0 whatever became of its line.
fn expect_end(sandbox: Sandbox, stderr: &str) {
    sandbox.signal(SIGTERM);
    assert_eq!(sandbox.end(), End::exit(0, "", stderr));
}

fn sleeps_whatever_its_arguments_are(program: &Program) {
    for arguments in [
        vec![vec![]],
        vec![vec![]; 4096],
        vec![b"x".to_vec(); 4096],
        // The longest that Linux takes, with its null (execve(2), MAX_ARG_STRLEN).
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
        expect_end(sandbox, TERMINATED);
    }
}

/// Natively alone: an emulator does not start without a name.
#[test]
fn starts_without_arguments_at_all() {
    for program in Program::natives() {
        // Not even a name: Linux since 5.18 makes that an empty one.
        let sandbox = Sandbox::run_without_arguments(&program);
        sandbox.wait_until_asleep();
        expect_end(sandbox, TERMINATED);
    }
}

fn leaves_without_files(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        // SAFETY: system calls.
        (0..=2).for_each(|file| unsafe { _ = libc::close(file) });
    });
    expect_end(sandbox, "");
}

fn leaves_where_nobody_reads(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        let mut pipe: [c_int; 2] = [0; 2];
        // SAFETY: system calls. SIGPIPE would come to the first process if it had a handler.
        unsafe {
            libc::pipe(pipe.as_mut_ptr());
            libc::dup2(pipe[1], 2);
            libc::close(pipe[0]);
            libc::close(pipe[1]);
        }
    });
    expect_end(sandbox, "");
}

fn leaves_where_the_disk_is_full(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        // SAFETY: system calls.
        unsafe {
            let full = libc::open(c"/dev/full".as_ptr(), libc::O_WRONLY);
            libc::dup2(full, 2);
            libc::close(full);
        }
    });
    expect_end(sandbox, "");
}

/// Its line is not lost where a reader is only slow; one who never reads makes the runtime kill.
fn waits_for_a_reader_of_a_full_pipe(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        // SAFETY: system calls. The pipe holds as much as it takes.
        unsafe {
            libc::fcntl(2, libc::F_SETFL, libc::O_NONBLOCK);
            let page = [b'x'; 4096];
            while libc::write(2, page.as_ptr().cast(), page.len()) > 0 {}
            libc::fcntl(2, libc::F_SETFL, 0);
        }
    });
    sandbox.signal(SIGTERM);
    let said = sandbox.end_with(|said| said.trim_start_matches('x').to_owned());
    assert_eq!((said.status, &*said.stderr), (Ok(0), TERMINATED));
}

/// A user that is nobody, without capabilities, that can gain none.
fn needs_no_rights(program: &Program) {
    let sandbox = Sandbox::start_after(program, || {
        // SAFETY: system calls, past libc, which would have all threads of its process change their
        // user, and those that a fork leaves behind never answer.
        unsafe {
            for capability in 0..64 {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            libc::syscall(libc::SYS_setgroups, 0, 0);
            libc::syscall(libc::SYS_setgid, 65535);
            libc::syscall(libc::SYS_setuid, 65535);
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        }
    });
    assert_eq!(sandbox.status("CapPrm"), "0000000000000000");
    assert_eq!(sandbox.status("CapBnd"), "0000000000000000");
    assert_eq!(sandbox.status("NoNewPrivs"), "1");
    assert!(sandbox.status("Uid").starts_with("65535\t65535"));
    expect_end(sandbox, TERMINATED);
}

/// Natively alone: an emulator needs more itself.
#[test]
fn needs_hardly_any_memory() {
    for program in Program::natives() {
        let sandbox = Sandbox::start_after(&program, || {
            let limit = |resource, bytes| {
                let limit = libc::rlimit {
                    rlim_cur: bytes,
                    rlim_max: bytes,
                };
                // SAFETY: a system call on a struct of our own.
                unsafe { libc::setrlimit(resource, &limit) };
            };
            limit(libc::RLIMIT_DATA, 0);
            limit(libc::RLIMIT_NOFILE, 0);
            limit(libc::RLIMIT_NPROC, 0);
            limit(libc::RLIMIT_MEMLOCK, 0);
            limit(libc::RLIMIT_FSIZE, 0);
            // Less than four pages of stack, or five of all, is too little for the kernel, which
            // lays arguments and environment out there before the program starts.
            limit(libc::RLIMIT_STACK, 32 << 10);
            limit(libc::RLIMIT_AS, 64 << 10);
        });
        expect_end(sandbox, TERMINATED);
    }
}

/// Natively alone: there is nothing but the program in this root, no emulator either.
#[test]
fn needs_no_other_file_in_its_root() {
    for program in Program::natives() {
        let root = tempfile::tempdir().unwrap();
        fs::copy(&program.path, root.path().join("pause")).unwrap();
        let words = ["/usr/sbin/chroot", root.path().to_str().unwrap(), "/pause"];
        let sandbox = Sandbox::run(words);
        sandbox.wait_until_asleep();
        assert_eq!(
            fs::read_link(format!("/proc/{}/root", sandbox.pid)).unwrap(),
            root.path()
        );
        expect_end(sandbox, TERMINATED);
    }
}

/// A filter that kills on any other call than those that pause makes, and the execve before it.
/// Natively alone: an emulator makes more.
#[test]
fn needs_no_other_system_call() {
    fn allow_those_alone() {
        const CALLS: [libc::c_long; 7] = [
            libc::SYS_execve,
            libc::SYS_getpid,
            libc::SYS_write,
            libc::SYS_rt_sigaction,
            libc::SYS_wait4,
            SLEEP,
            libc::SYS_exit_group,
        ];
        // seccomp(2): the number is the first word of what the filter sees. Each comparison jumps
        // over the rest of them and the killing where the call is that one.
        let step = |code: u32, jt, k| libc::sock_filter {
            code: code as u16,
            jt,
            jf: 0,
            k,
        };
        let mut filter = [step(
            libc::BPF_RET | libc::BPF_K,
            0,
            libc::SECCOMP_RET_KILL_PROCESS,
        ); 10];
        filter[0] = step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0);
        for (place, call) in (1..).zip(CALLS) {
            let rest = (CALLS.len() - place + 1) as u8;
            filter[place] = step(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                rest,
                call as u32,
            );
        }
        filter[9] = step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW);
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: system calls; the kernel copies the filter.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program);
        }
    }
    for program in Program::natives() {
        let sandbox = Sandbox::start_after(&program, allow_those_alone);
        assert_eq!(sandbox.status("Seccomp"), "2");
        expect_end(sandbox, TERMINATED);
    }
}

/// Runs each program under strace, which is the first process, with calls that fail as `injection`
/// says; what is to happen is left to `expect`. Natively alone: strace would see an emulator's calls.
fn under_strace(injection: &str, expect: impl Fn(Sandbox)) {
    for program in Program::natives() {
        let path = program.path.to_str().unwrap();
        let words = ["/usr/bin/strace", "-qq", "-o", "/dev/null", injection, path];
        expect(Sandbox::run(words));
    }
}

/// The program that strace runs, once it sleeps.
fn sleeper_under(strace: &Sandbox) -> Pid {
    let mut sleeper = None;
    wait_until("asleep", || {
        sleeper = strace.children().first().copied();
        sleeper.is_some_and(|pid| {
            // strace has had other children, which tried out what it can do.
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            let call = fs::read_to_string(format!("/proc/{pid}/syscall"));
            name.is_ok_and(|name| name == "pause\n")
                && call.is_ok_and(|call| call.starts_with(&format!("{SLEEP} ")))
        })
    });
    sleeper.unwrap()
}

/// Not at all, or not whole: it does not write the rest, as the line is said or its reader is gone.
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
        let injection = format!("--inject=write:{fault}");
        under_strace(&injection, |strace| {
            kill(sleeper_under(&strace), SIGTERM).unwrap();
            assert_eq!(strace.end().status, Ok(0), "{fault}");
        });
        for program in Program::natives() {
            let mut strace = Command::new("strace");
            strace.args(["-qq", "-o", "/dev/null", &injection]);
            assert_eq!(run(strace.arg(&program.path).arg("-v")).status, Ok(0));
        }
    }
}

/// Where it may not sleep it does not keep a processor busy with trying, but leaves with 4.
#[test]
fn leaves_where_it_may_not_sleep() {
    // All errors that Linux has (include/uapi/asm-generic/errno.h), but EINTR.
    for error in (1..=133).filter(|error| *error != libc::EINTR) {
        under_strace(&format!("--inject={SLEEP}:error={error}"), |strace| {
            assert_eq!(strace.end().status, Ok(4), "{error}");
        });
    }
}

#[test]
fn sleeps_again_where_it_was_interrupted() {
    under_strace(
        &format!("--inject={SLEEP}:error=EINTR:when=1..1000"),
        |strace| {
            kill(sleeper_under(&strace), SIGTERM).unwrap();
            assert_eq!(strace.end().status, Ok(0));
        },
    );
}

#[test]
fn sleeps_all_the_same_where_waiting_fails() {
    for error in ["EINTR", "ENOSYS", "ECHILD", "EPERM"] {
        under_strace(&format!("--inject=wait4:error={error}"), |strace| {
            kill(sleeper_under(&strace), SIGKILL).unwrap();
            assert_eq!(strace.end().status, Ok(128 + SIGKILL as i32), "{error}");
        });
    }
}
