//! Each bit of the file, flipped: the proof fails, or it is an equal program, and proved, too. Here a
//! share of them is; `make mutants` flips all, and lists those that are proved.

use proof::{Program, flips::flips};

/// One bit of so many is flipped: all eight of a byte have their turn.
const EVERY: usize = 13;

#[test]
fn every_bit_counts_or_makes_an_equal_program() {
    for program in Program::all().unwrap() {
        let report = program.prove().unwrap();
        let flips = flips(&program, EVERY).unwrap();
        let is_code = |at: i64| {
            let before = report.instructions.range(..=at).next_back();
            before.is_some_and(|(start, it)| at < start + it.length as i64)
        };
        // Of headers and texts, each counts.
        let other = flips
            .equal
            .iter()
            .find(|(at, _)| !is_code(*at as i64) && report.read.contains(&(*at as i64)));
        assert_eq!(
            other,
            None,
            "{}: a text that may be another",
            program.name()
        );
        let header = flips
            .equal
            .iter()
            .find(|(at, _)| *at < proof::elf::code(program.platform));
        assert_eq!(
            header,
            None,
            "{}: a header that may be another",
            program.name()
        );
        // Bits of instructions that a processor does not look at are few.
        let (caught, equal) = (flips.caught.len(), flips.equal.len());
        assert!(
            equal * 8 < caught,
            "{}: {equal} of {caught} are proved, too",
            program.name()
        );
        println!(
            "{}: {} bits = {caught} caught + {equal} proved, too",
            program.name(),
            caught + equal
        );
    }
}
