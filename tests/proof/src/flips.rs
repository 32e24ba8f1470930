//! That the proof can fail: each bit of the file, flipped. Either it fails, or it proves the flipped
//! file as well, which then is an equal program.

use crate::{Program, Report, isa::Decoder, prove, solver::Solver};
use anyhow::Result;
use std::thread;

/// A bit of the file: the byte's offset, and the bit's number, 0 the lowest.
pub type Bit = (usize, u32);

pub fn flip(file: &[u8], (offset, bit): Bit) -> Vec<u8> {
    let mut flipped = file.to_vec();
    flipped[offset] ^= 1 << bit;
    flipped
}

/// What became of the flips of a program's bits.
#[derive(Debug, Default)]
pub struct Flips {
    pub caught: Vec<Bit>,
    pub equal: Vec<Bit>,
}

/// One bit of `every` so many, half of them in a thread of its own.
///
/// # Errors
///
/// Where there is no z3.
pub fn flips(program: &Program, every: usize) -> Result<Flips> {
    let bits: Vec<Bit> = (0..program.bytes.len())
        .flat_map(|at| (0..8).map(move |bit| (at, bit)))
        .step_by(every)
        .collect();
    let try_all = |bits: &[Bit]| {
        let decoder = Decoder::new(program.platform.isa);
        let mut solver = Solver::new()?;
        let mut flips = Flips::default();
        for bit in bits {
            let flipped = flip(&program.bytes, *bit);
            let is_proved = prove(program.platform, &flipped, &decoder, &mut solver).is_ok();
            if is_proved {
                &mut flips.equal
            } else {
                &mut flips.caught
            }
            .push(*bit);
        }
        Ok(flips)
    };
    let (some, others) = bits.split_at(bits.len() / 2);
    thread::scope(|scope| {
        let other = scope.spawn(|| try_all(others));
        let mut flips: Flips = try_all(some)?;
        let other: Result<Flips> = other.join().expect("it does not panic");
        let other = other?;
        flips.caught.extend(other.caught);
        flips.equal.extend(other.equal);
        Ok(flips)
    })
}

/// What an instruction was and is, the bit being flipped: `0x95.3 mov r2, r0 -> mov r2, r8`.
pub fn describe(program: &Program, report: &Report, bit: Bit) -> String {
    let decoder = Decoder::new(program.platform.isa);
    let text = |file: &[u8], at| {
        decoder
            .decode(file, at)
            .map_or("no instruction".to_owned(), |it| it.text())
    };
    let mut before = report.instructions.range(..=bit.0 as i64).rev();
    let what = match before
        .next()
        .filter(|(at, it)| (bit.0 as i64) < *at + it.length as i64)
    {
        Some((at, was)) => format!(
            "{} -> {}",
            was.text(),
            text(&flip(&program.bytes, bit), *at as u64)
        ),
        None => "read by nothing".to_owned(),
    };
    format!("{:#x}.{}  {what}", bit.0, bit.1)
}
