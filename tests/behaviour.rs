//! What pause prints and how it exits, byte for byte as the pause it replaces.

use nix::{
    sched::CloneFlags,
    sys::signal::{
        Signal::{SIGCONT, SIGINT, SIGTERM},
        kill,
    },
};
use std::fs::{self, File};
use tempfile::NamedTempFile;
use tests::{
    for_each_program,
    program::{INTERRUPT, Program, TERMINATED, WARNING},
    sandbox::{End, Sandbox, run, run_into},
    wait_until,
};

for_each_program!(
    tells_its_version,
    takes_no_other_argument_for_the_version_flag,
    tells_its_version_to_a_full_disk,
    warns_where_it_is_not_the_first_process,
    leaves_on_sigint_and_sigterm,
    says_one_line_where_both_signals_come,
    takes_its_name_for_no_argument,
);

fn tells_its_version(program: &Program) {
    let version = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
    let long = "x".repeat(100_000);
    for arguments in [
        &["-v"][..],
        &["-V"],
        &["sleep", "-v"],
        &["", "-V", "--"],
        &["-vv", "--v", "-v"],
        &[&long, "-v"],
    ] {
        let end = run(program.command().args(arguments));
        assert_eq!(end, End::exit(0, version, ""), "{arguments:.20?}");
    }
}

fn takes_no_other_argument_for_the_version_flag(program: &Program) {
    let mut words = program.words();
    // Each shares bits or bytes with -v, so that a careless comparison would match it.
    for argument in [
        "",
        "-",
        "v",
        "V",
        "-vv",
        "-v ",
        " -v",
        "--v",
        "-vV",
        "\rv",
        "-6",
        "-\u{16}",
        "-w",
        "mv",
        "-v\u{1}",
        "version",
        "--version",
    ] {
        words.push(argument.into());
    }
    words.push(b"-\xf6".to_vec());
    words.push(b"\xad\x76".to_vec());
    let sandbox = Sandbox::run(words);
    sandbox.wait_until_asleep();
    sandbox.expect_end(SIGTERM, TERMINATED);
}

fn tells_its_version_to_a_full_disk(program: &Program) {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let end = run_into(full.into(), program.command().arg("-v"));
    assert_eq!(end, End::exit(0, "", ""));
}

/// As the first process it prints this line and no other.
fn leaves_on_sigint_and_sigterm(program: &Program) {
    for (signal, line) in [(SIGINT, INTERRUPT), (SIGTERM, TERMINATED)] {
        Sandbox::start(program).expect_end(signal, line);
    }
}

fn warns_where_it_is_not_the_first_process(program: &Program) {
    for (signal, line) in [(SIGINT, INTERRUPT), (SIGTERM, TERMINATED)] {
        let sandbox = Sandbox::start_in(CloneFlags::empty(), program, || {});
        sandbox.expect_end(signal, &format!("{WARNING}{line}"));
    }
}

fn says_one_line_where_both_signals_come(program: &Program) {
    let sandbox = Sandbox::start(program);
    sandbox.stop();
    sandbox.signal(SIGTERM);
    sandbox.signal(SIGINT);
    sandbox.signal(SIGCONT);
    let said = sandbox.end();
    assert_eq!(said.status, Ok(0));
    assert!([INTERRUPT, TERMINATED].contains(&&*said.stderr), "{said:?}");
}

fn takes_its_name_for_no_argument(program: &Program) {
    let (path, words) = program.words_named("-v");
    let sandbox = Sandbox::execute(CloneFlags::CLONE_NEWPID, &path, words, || {});
    sandbox.wait_until_asleep();
    sandbox.expect_end(SIGTERM, TERMINATED);
}

/// Native programs only: strace would see an emulator's calls.
#[test]
fn leaves_with_the_number_of_the_action_that_is_refused() {
    for program in Program::natives() {
        for code in 1..=3 {
            let refusal = format!("--inject=rt_sigaction:error=EINVAL:when={code}");
            let path = program.path.to_str().unwrap();
            let strace = ["/usr/bin/strace", "-qq", "--output=/dev/null"];
            let sandbox = Sandbox::run([&strace[..], &[&refusal, path]].concat());
            assert_eq!(sandbox.end(), End::exit(code, "", WARNING));
        }
    }
}

/// Compares all system calls and their arguments, as strace prints them. Native programs only.
#[test]
fn makes_these_system_calls() {
    for program in Program::natives() {
        // ppoll's fifth argument, the size of the mask, may be anything: the mask is null.
        let sleep = match program.platform.sleep {
            "pause" => "pause(",
            _ => "ppoll(NULL, 0, NULL, NULL",
        };
        // On 386 the upper half of the mask is argc, here 1: a real-time signal. SIGCHLD's mask there
        // is whatever lies on the stack.
        let (mask, ignored, flags) = match program.platform.arch {
            "amd64" => ("INT TERM", "[]", "SA_RESTORER, sa_restorer=0x1"),
            "386" => ("INT TERM RT_1", "[…]", "SA_RESTORER, sa_restorer=0x1"),
            _ => ("INT TERM", "[]", "0"),
        };
        let log = NamedTempFile::new().unwrap();
        let log = log.path().to_str().unwrap();
        let path = program.path.to_str().unwrap();
        let words = ["/usr/bin/strace", "-qq", "-s99", "-o", log, path];
        let strace = Sandbox::run(words);
        let calls = || fs::read_to_string(log).unwrap();
        wait_until("asleep", || calls().contains(sleep));
        kill(strace.children()[0], SIGTERM).unwrap();
        assert_eq!(strace.end().status, Ok(0));

        let calls = calls();
        let handler = calls.split("sa_handler=").nth(1).unwrap();
        let (handler, _) = handler.split_once(',').unwrap();
        let calls: Vec<String> = calls
            .replace(handler, "HANDLER")
            .lines()
            .filter(|line| !line.starts_with("execve(") && !line.starts_with("---"))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .map(|line| match line.split_once("SIG_IGN, sa_mask=[") {
                Some((action, mask)) if ignored == "[…]" => {
                    let (_, flags) = mask.split_once(']').unwrap();
                    format!("{action}SIG_IGN, sa_mask={ignored}{flags}")
                }
                _ => line,
            })
            .collect();
        let pid = &calls[0];
        assert!(pid.starts_with("getpid() = "), "{pid}");
        let asleep = &calls[calls.len() - 3];
        assert!(
            asleep.starts_with(sleep) && asleep.contains("ERESTARTNOHAND"),
            "{asleep}"
        );
        let action = format!("{{sa_handler=HANDLER, sa_mask=[{mask}], sa_flags={flags}}}");
        let ignore =
            format!("{{sa_handler=SIG_IGN, sa_mask={ignored}, sa_flags=SA_NOCLDWAIT|0x4000}}");
        let expected = [
            pid,
            "write(2, \"Warning: pause should be the first process\\n\", 43) = 43",
            &format!("rt_sigaction(SIGINT, {action}, NULL, 8) = 0"),
            &format!("rt_sigaction(SIGTERM, {action}, NULL, 8) = 0"),
            // An ignored signal's mask has no effect.
            &format!("rt_sigaction(SIGCHLD, {ignore}, NULL, 8) = 0"),
            "wait4(-1, NULL, WNOHANG, NULL) = -1 ECHILD (No child processes)",
            asleep,
            "write(2, \"Shutting down, got signal: Terminated\\n\", 38) = 38",
            "exit_group(0) = ?",
        ];
        assert_eq!(calls, expected);
    }
}
