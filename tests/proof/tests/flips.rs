//! Each bit of the file, flipped: the proof fails, or it is an equal program, and proved, too. Here a
//! share of them is; `make mutants` sets EVERY to 1, and lists those that are proved.

use anyhow::Result;
use itertools::iproduct;
use proof::{Program, Prover, Report, elf, isa::Decoder};
use std::{env, thread};

/// One bit of so many is flipped: all eight of a byte have their turn.
const EVERY: usize = 13;

/// A bit of the file: the byte's offset, and the bit's number, 0 the lowest.
type Bit = (usize, u32);

fn flip(file: &[u8], (offset, bit): Bit) -> Vec<u8> {
    let mut flipped = file.to_vec();
    flipped[offset] ^= 1 << bit;
    flipped
}

/// Those of the bits that make a program which is proved, too.
fn equal(program: &Program, bits: &[Bit]) -> Result<Vec<Bit>> {
    let mut prover = Prover::new(program.platform)?;
    let is_equal = |bit: &Bit| prover.prove(&flip(&program.bytes, *bit)).is_ok();
    Ok(bits.iter().copied().filter(is_equal).collect())
}

/// What an instruction was and is, the bit being flipped: `0x95.3 mov r2, r0 -> mov r2, r8`.
fn describe(program: &Program, report: &Report, bit: Bit) -> String {
    let what = match report.instruction_around(bit.0) {
        Some(was) => {
            let mut decoder = Decoder::new(program.platform);
            let is = decoder.decode(&flip(&program.bytes, bit), was.at);
            let is = is.map_or("no instruction".to_owned(), |it| it.text.clone());
            format!("{} -> {is}", was.text)
        }
        None => "read by nothing".to_owned(),
    };
    format!("{:#x}.{}  {what}", bit.0, bit.1)
}

#[test]
fn every_bit_counts_or_makes_an_equal_program() {
    let every = env::var("EVERY").map_or(EVERY, |it| it.parse().unwrap());
    for program in Program::all().unwrap() {
        let (name, report) = (program.name(), program.prove().unwrap());
        let bits = iproduct!(0..program.bytes.len(), 0..8).step_by(every);
        let bits: Vec<Bit> = bits.collect();
        let (some, others) = bits.split_at(bits.len() / 2);
        let found = thread::scope(|scope| {
            let others = scope.spawn(|| equal(&program, others));
            [equal(&program, some), others.join().unwrap()]
        });
        let found = found.into_iter().collect::<Result<Vec<_>>>();
        let found = found.unwrap().concat();
        let (equal, caught) = (found.len(), bits.len() - found.len());
        println!(
            "{name}: {} bits = {caught} caught + {equal} proved, too",
            bits.len()
        );
        for (at, bit) in found {
            println!("    {}", describe(&program, &report, (at, bit)));
            // Of headers and texts, each counts.
            let is_text = report.read.contains(&(at as i64));
            let is_code = report.instruction_around(at).is_some();
            let may_be = at >= elf::code(program.platform) && (is_code || !is_text);
            assert!(
                may_be,
                "{name}: {at:#x}.{bit} is a header or a text that may be another"
            );
        }
        // Bits of instructions that a processor does not look at are few.
        assert!(
            equal * 8 < caught,
            "{name}: {equal} of {caught} are proved, too"
        );
    }
}
