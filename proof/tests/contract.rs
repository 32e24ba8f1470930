//! The files that ship keep the contract, no byte of them is left over, and the listings and the seccomp
//! profile are theirs. A file with a mistake breaks the contract, and the proof names the way there and an
//! input that shows it. Where a bit is flipped, the proof fails or proves an equal program.

use itertools::Itertools;
use proof::{Program, Prover, flips, listing, seccomp};
use sandbox::project;
use std::fs;

/// Of so many bits one is flipped. 13 is prime to 8, so that each bit of a byte has its turn.
const EVERY: usize = 13;

#[test]
fn every_program_keeps_the_contract_and_every_byte_is_accounted_for() {
    let proved = proof::prove().unwrap();
    listing::check(&proved, false).unwrap();
    seccomp::check(&proved, false).unwrap();
    flips::check(&proved, EVERY).unwrap();
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
