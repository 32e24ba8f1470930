//! The files that ship keep the contract, and no byte of them is left over; a file with an error in it
//! does not, and the proof names the way there and an input that shows it.

use itertools::Itertools;
use proof::{Program, Prover, elf};
use std::fs;
use tests::project;

#[test]
fn every_program_keeps_the_contract_and_every_byte_is_accounted_for() {
    for program in Program::all().unwrap() {
        let (name, platform) = (program.name(), program.platform);
        let report = program.prove();
        let report = report.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let calls = platform.calls().map(|it| it.0).collect();
        assert_eq!(report.calls, calls, "{name}");

        let size = program.bytes.len();
        let headers = elf::code(platform);
        let what = |at| match report.instruction_around(at) {
            Some(_) => "code",
            None if report.read.contains(&(at as i64)) => "read",
            None => "filler",
        };
        let bytes = (headers..size).counts_by(what);
        let count = |what| bytes.get(what).copied().unwrap_or_default();
        let [code, read, filler] = ["code", "read", "filler"].map(count);
        let otherwise = "bytes that nothing is told of";
        assert_eq!(filler, platform.filler, "{name}: {otherwise}");
        let (paths, questions, count) = (report.paths, report.questions, report.instructions.len());
        println!(
            "{name}: {paths} paths, {questions} questions; {size} bytes = {headers} of headers + \
             {code} of {count} instructions, all on a path + {read} of texts and numbers, all read + \
             {filler} that align or end the code",
        );
    }
}

/// Errors: what it is, in which program, the bytes that it replaces and those it puts there, and what
/// the input has that shows it.
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
        let row = row.split(" | ").collect_tuple();
        let (what, name, right, wrong, input) = row.unwrap();
        let (right, wrong) = (hex::decode(right).unwrap(), hex::decode(wrong).unwrap());
        let mut programs = programs.iter().filter(|it| it.platform.name == name);
        let program = programs.next().unwrap();
        let bytes = &program.bytes;
        let places = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&right));
        let place = places.exactly_one();
        let place = place.unwrap_or_else(|_| panic!("{what}: it is not in {name} once"));
        let mut file = bytes.clone();
        file[place..][..wrong.len()].copy_from_slice(&wrong);
        let Err(error) = Prover::new(program.platform).unwrap().prove(&file) else {
            panic!("{what}: it was proved")
        };
        let told = format!("{error:#}");
        println!("{what}\n{told}\n");
        // The input is one of many.
        let (told, shown) = told.split_once("  input: ").unwrap();
        assert!(documentation.contains(told), "{told}");
        assert!(shown.contains(input), "{shown}");
    }
}
