//! Flipped bits: the proof fails, or proves the new program as well. Then it is an equal one.

use crate::{Program, Prover, Report, isa::Decoder};
use anyhow::{Result, ensure};
use itertools::iproduct;
use std::thread;

/// A bit of the file: the byte's offset, and the bit's number, 0 the lowest.
type Bit = (usize, u32);

fn flip(file: &[u8], (offset, bit): Bit) -> Vec<u8> {
    let mut flipped = file.to_vec();
    flipped[offset] ^= 1 << bit;
    flipped
}

/// The bits that make a program which is proved as well.
fn equal(program: &Program, bits: &[Bit]) -> Result<Vec<Bit>> {
    let mut prover = Prover::new(program.platform)?;
    let is_equal = |bit: &Bit| prover.prove(&flip(&program.bytes, *bit)).is_ok();
    Ok(bits.iter().copied().filter(is_equal).collect())
}

/// The instruction without and with the bit flipped: `0x95.3 mov r2, r0 -> mov r2, r8`.
fn describe(program: &Program, report: &Report, decoder: &mut Decoder, bit: Bit) -> String {
    let what = match report.instruction_around(bit.0) {
        Some(was) => {
            let is = decoder.read(&flip(&program.bytes, bit), was.at);
            let is = is.map_or("no instruction".to_owned(), |it| it.text.clone());
            format!("{} -> {is}", was.text)
        }
        None => "read by nothing".to_owned(),
    };
    format!("{:#x}.{}  {what}", bit.0, bit.1)
}

/// Flips one of so many bits of each program, and prints those that make an equal program.
pub fn check(proved: &[(Program, Report)], every: usize) -> Result<()> {
    for (program, report) in proved {
        let name = &program.name;
        let bits = iproduct!(0..program.bytes.len(), 0..8).step_by(every);
        let bits: Vec<Bit> = bits.collect();
        let (some, others) = bits.split_at(bits.len() / 2);
        let found = thread::scope(|scope| {
            let others = scope.spawn(|| equal(program, others));
            let others = others.join().expect("it does not panic");
            Ok::<_, anyhow::Error>([equal(program, some)?, others?].concat())
        })?;
        let (equal, all) = (found.len(), bits.len());
        let caught = all - equal;
        println!("{name}: {all} bits = {caught} caught + {equal} proved, too");
        let mut decoder = Decoder::new(program.platform);
        for bit in found {
            println!("    {}", describe(program, report, &mut decoder, bit));
            let may_be = ["code", "filler"].contains(&report.kind(bit.0));
            let otherwise = "is a header or a text that may be another";
            ensure!(may_be, "{name}: {:#x}.{} {otherwise}", bit.0, bit.1);
        }
        // A processor looks at most bits of an instruction.
        let otherwise = format!("{name}: {equal} of {all} are proved, too");
        ensure!(equal * 8 < caught, "{otherwise}");
    }
    Ok(())
}
