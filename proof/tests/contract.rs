//! The files that ship keep the contract, no byte of them is left over, and the listings and the seccomp
//! profile are theirs. A file with a mistake breaks the contract, and the proof names the way there and an
//! input that shows it. If a bit is flipped, the proof fails or proves an equal program, which runs.

use itertools::Itertools;
use proof::{
    Program, Prover, elf,
    flips::{self, Options},
    listing, seccomp,
    term::Term,
};
use sandbox::project;
use std::{fs, path::Path};

#[test]
fn every_program_keeps_the_contract_and_every_byte_is_accounted_for() {
    let proved = proof::prove().unwrap();
    listing::check(&proved, false).unwrap();
    seccomp::check(&proved, false).unwrap();
    // 13 is prime to 8, so that each bit of a byte has its turn.
    let (every, pairs, run) = (13, 200, true);
    let proof = Path::new(env!("CARGO_BIN_EXE_proof"));
    flips::check(&proved, &Options { every, pairs, run }, proof).unwrap();
}

#[test]
fn a_byte_that_is_left_over_and_a_stale_file_are_found() {
    let program = Program::all().unwrap().swap_remove(1);
    let mut report = program.prove().unwrap();
    report.calls.insert("sched_yield");
    report.instructions.pop_first();
    let proved = [(program, report)];
    let listing = listing::check(&proved, false).unwrap_err();
    let profile = seccomp::check(&proved, false).unwrap_err();
    let [(mut program, _)] = proved;
    // Behind the messages, in the segment.
    program.bytes.push(0);
    for (_, place, value, _) in elf::fields(program.platform, program.bytes.len()) {
        let value = Term::number(value as i64, 8 * place.len() as u32);
        program.bytes[place].copy_from_slice(&program.platform.bytes_of(&value));
    }
    let report = program.prove().unwrap();
    let left = program.account(&report).unwrap_err();
    let wanted = "proof/listings/amd64.txt is stale: run `make listings`; \
        examples/seccomp.json is stale: run `make listings`; \
        pause/amd64/pause: 1 bytes are filler, not 0";
    assert_eq!(format!("{listing}; {profile}; {left}"), wanted);
}

/// Mistakes: what it is, in which program, the bytes that it replaces and those that it puts there, and
/// a part of the input that shows it.
const MISTAKES: &str = "
it takes other errors for EINTR: cmp al, -4 for cmp eax, -4 | amd64 | 83f8fc74f6 | 3cfc74f750 | pause.6 = -
it blocks SIGTERM alone: push 0x4000 for push 0x4002 | amd64 | 6802400000 | 6800400000 | getpid.0 =
its warning is one byte short: push 42 for push 43 | amd64 | 6a2b5a | 6a2a5a | getpid.0 =
it sets a reserved bit of sc | ppc64le | 78f3c37f02000044 | 78f3c37f12000044 | argument0.byte0 = 45
it has c.lui a5, 0 for c.li a5, 0, which is reserved | riscv64 | 814797060000 | 816797060000 | any
its stack pointer is cut to 32 bits: sext.w sp for sext.w a0 | riscv64 | 01258545 | 01218545 | argument0 = 0
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
        let output = format!("{error:#}");
        println!("{what}\n{output}\n");
        // The input is one of many.
        let (output, shown) = output.split_once("  input: ").unwrap();
        assert!(documentation.contains(output), "{output}");
        assert!(shown.contains(input), "{shown}");
    }
}
