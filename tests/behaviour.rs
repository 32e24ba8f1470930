//! What pause prints and how it exits, byte for byte as the pause it replaces.

use nix::{
    sched::CloneFlags,
    sys::signal::Signal::{SIGCONT, SIGINT, SIGTERM},
    unistd::dup2_stdout,
};
use sandbox::{
    End, Sandbox,
    program::{INTERRUPT, Program, TERMINATED, WARNING},
};
use std::fs::File;

promises!(
    prints_its_version,
    takes_no_other_argument_for_the_version_flag,
    ignores_a_full_disk_for_its_version,
    warns_if_it_is_not_the_first_process,
    exits_on_sigint_and_sigterm,
    prints_one_line_if_both_signals_come,
    does_not_take_its_name_for_an_argument,
);

fn prints_its_version(program: &Program) {
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
        let words = arguments.iter().map(|it| it.as_bytes().to_vec());
        let end = Sandbox::run_after(program, words.collect(), || {}).end();
        assert_eq!(end, End::exit(0, version, ""), "{arguments:.20?}");
    }
}

fn takes_no_other_argument_for_the_version_flag(program: &Program) {
    // Each shares bits or bytes with -v, so that a careless comparison would match it.
    let arguments =
        b",-,v,V,-vv,-v , -v,--v,-vV,\rv,-6,-\x16,-w,mv,-v\x01,version,--version,-\xf6,\xadv";
    let arguments = arguments.split(|byte| *byte == b',').map(<[u8]>::to_vec);
    let sandbox = Sandbox::run_after(program, arguments.collect(), || {});
    sandbox.wait_until_asleep();
    sandbox.expect_end(SIGTERM, TERMINATED);
}

fn ignores_a_full_disk_for_its_version(program: &Program) {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let write_there = || _ = dup2_stdout(&full);
    let end = Sandbox::run_after(program, vec!["-v".into()], write_there).end();
    assert_eq!(end, End::exit(0, "", ""));
}

/// As the first process it prints this line and no other.
fn exits_on_sigint_and_sigterm(program: &Program) {
    for (signal, line) in [(SIGINT, INTERRUPT), (SIGTERM, TERMINATED)] {
        Sandbox::start(program).expect_end(signal, line);
    }
}

fn warns_if_it_is_not_the_first_process(program: &Program) {
    for (signal, line) in [(SIGINT, INTERRUPT), (SIGTERM, TERMINATED)] {
        let sandbox = Sandbox::start_in(CloneFlags::empty(), program, || {});
        sandbox.expect_end(signal, &format!("{WARNING}{line}"));
    }
}

fn prints_one_line_if_both_signals_come(program: &Program) {
    let sandbox = Sandbox::start(program);
    sandbox.stop();
    sandbox.signal(SIGTERM);
    sandbox.signal(SIGINT);
    sandbox.signal(SIGCONT);
    let end = sandbox.end();
    assert_eq!(end.status, Ok(0));
    assert!([INTERRUPT, TERMINATED].contains(&&*end.stderr), "{end:?}");
}

fn does_not_take_its_name_for_an_argument(program: &Program) {
    let (path, words) = program.words_named("-v");
    let sandbox = Sandbox::execute(CloneFlags::CLONE_NEWPID, &path, words, || {});
    sandbox.wait_until_asleep();
    sandbox.expect_end(SIGTERM, TERMINATED);
}
