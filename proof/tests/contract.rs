//! The files that ship keep the contract, no byte of them is left over, and the listings and the seccomp
//! profile are theirs. A file with a mistake breaks the contract, and the proof names the way there and an
//! input that shows it.

use itertools::Itertools;
use proof::{Program, Prover, elf, listing, seccomp};
use sandbox::{built, project};
use std::{collections::BTreeSet, env, fs, time::Instant};

#[test]
fn every_program_keeps_the_contract_and_every_byte_is_accounted_for() {
    let mut all_calls = BTreeSet::new();
    for program in Program::all().unwrap() {
        let (name, platform, start) = (&program.name, program.platform, Instant::now());
        let report = program.prove();
        let report = report.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let seconds = start.elapsed().as_secs_f64();
        let calls = platform.calls().map(|it| it.0).collect();
        assert_eq!(report.calls, calls, "{name}");
        all_calls.extend(calls);

        let size = program.bytes.len();
        let headers = elf::code(platform);
        let bytes = (headers..size).counts_by(|at| report.kind(at));
        let count = |what| bytes.get(what).copied().unwrap_or_default();
        let [code, read, filler] = ["code", "read", "filler"].map(count);
        assert_eq!(filler, platform.filler, "{name}: bytes that nothing reads");
        let (paths, questions, count) = (report.paths, report.questions, report.instructions.len());
        println!(
            "{name}: {paths} paths, {questions} questions, {seconds:.1} s; {size} bytes: {headers} headers, \
             {code} of {count} instructions on a path, {read} read, {filler} align or end the code"
        );
        if program.name.starts_with("pause/") {
            let unstripped = built(&format!("pause-unstripped/{}/pause", platform.name));
            let listing = listing::list(&program, &report, &unstripped).unwrap();
            let path = format!("proof/listings/{}.txt", platform.name);
            check(&path, &listing);
        }
    }
    check("examples/seccomp.json", &seccomp::profile(&all_calls));
}

/// Sees that a file in the repository is up to date. `make audit` sets AUDIT, which makes it so.
fn check(name: &str, text: &str) {
    let path = project().join(name);
    if env::var_os("AUDIT").is_some() {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{name} is stale: run `make audit`");
}

/// Mistakes: what it is, in which program, the bytes that it replaces and those that it puts there, and
/// a part of the input that shows it.
const MISTAKES: &str = "
it takes other errors for EINTR: cmp al, -4 for cmp eax, -4 | amd64 | 83f8fc74 | 80f8fc74 | pause.6 = -
it blocks SIGINT alone: push 2 for push 0x4002 | amd64 | 6802400000 | 6802000000 | getpid.0 =
its warning is one byte short: push 42 for push 43 | amd64 | 6a2b5a | 6a2a5a | getpid.0 =
its handler's address is off by one: adr x4, 0xcd for adr x4, 0xcc | arm64 | 64000010 | 64000030 | any
";

#[test]
fn a_mistake_is_found_and_shown_as_the_documentation_has_it() {
    let documentation = fs::read_to_string(project().join("docs/proof.md")).unwrap();
    let programs = Program::all().unwrap();
    for row in MISTAKES.trim().lines() {
        let (what, name, right, wrong, input) = row.split(" | ").collect_tuple().unwrap();
        let (right, wrong) = (hex::decode(right).unwrap(), hex::decode(wrong).unwrap());
        let program = programs.iter().find(|it| it.platform.name == name).unwrap();
        let bytes = &program.bytes;
        let places = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&right));
        let place = places.exactly_one();
        let place = place.unwrap_or_else(|_| panic!("{what}: it is not in {name} once"));
        let mut file = bytes.clone();
        file[place..][..wrong.len()].copy_from_slice(&wrong);
        let Err(error) = Prover::new(program.platform).unwrap().prove(&file) else {
            panic!("{what}: it was proved");
        };
        let told = format!("{error:#}");
        println!("{what}\n{told}\n");
        // The input is one of many.
        let (told, shown) = told.split_once("  input: ").unwrap();
        assert!(documentation.contains(told), "{told}");
        assert!(shown.contains(input), "{shown}");
    }
}
