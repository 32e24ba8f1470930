//! Each bit of the file, flipped: the proof fails, or it is an equal program, and proved, too. Here a
//! share of them is; `make mutants` flips all, and lists those that are proved.

use proof::{Program, elf, flips::flips};

/// One bit of so many is flipped: all eight of a byte have their turn.
const EVERY: usize = 13;

#[test]
fn every_bit_counts_or_makes_an_equal_program() {
    for program in Program::all().unwrap() {
        let (name, report) = (program.name(), program.prove().unwrap());
        let (bits, equal) = flips(&program, EVERY).unwrap();
        // Of headers and texts, each counts.
        let other = equal.iter().find(|(at, _)| {
            let is_text = report.read.contains(&(*at as i64));
            *at < elf::code(program.platform) || is_text && report.instruction_around(*at).is_none()
        });
        assert_eq!(
            other, None,
            "{name}: a header or a text that may be another"
        );
        // Bits of instructions that a processor does not look at are few.
        let (caught, equal) = (bits - equal.len(), equal.len());
        assert!(
            equal * 8 < caught,
            "{name}: {equal} of {caught} are proved, too"
        );
        println!("{name}: {bits} bits = {caught} caught + {equal} proved, too");
    }
}
