//! That the proof can fail: each bit of the file, flipped. Either it fails, or it proves the flipped
//! file as well, which then is an equal program.

use crate::{Program, Prover, Report, isa::Decoder};
use anyhow::Result;
use itertools::iproduct;
use std::thread;

/// A bit of the file: the byte's offset, and the bit's number, 0 the lowest.
pub type Bit = (usize, u32);

pub fn flip(file: &[u8], (offset, bit): Bit) -> Vec<u8> {
    let mut flipped = file.to_vec();
    flipped[offset] ^= 1 << bit;
    flipped
}

/// Flips one bit of `every` so many, half of them in a thread of its own: how many, and those that are
/// proved, too.
pub fn flips(program: &Program, every: usize) -> Result<(usize, Vec<Bit>)> {
    let bits = iproduct!(0..program.bytes.len(), 0..8).step_by(every);
    let bits: Vec<Bit> = bits.collect();
    let equal = |bits: &[Bit]| -> Result<Vec<Bit>> {
        let mut prover = Prover::new(program.platform)?;
        let is_equal = |bit: &Bit| prover.prove(&flip(&program.bytes, *bit)).is_ok();
        Ok(bits.iter().copied().filter(is_equal).collect())
    };
    let (some, others) = bits.split_at(bits.len() / 2);
    let equal = thread::scope(|scope| {
        let others = scope.spawn(|| equal(others));
        let some = equal(some)?;
        let others = others.join().expect("it does not panic")?;
        anyhow::Ok([some, others].concat())
    })?;
    Ok((bits.len(), equal))
}

/// What an instruction was and is, the bit being flipped: `0x95.3 mov r2, r0 -> mov r2, r8`.
pub fn describe(program: &Program, report: &Report, bit: Bit) -> String {
    let mut decoder = Decoder::new(program.platform);
    let what = match report.instruction_around(bit.0) {
        Some(was) => {
            let is = decoder.decode(&flip(&program.bytes, bit), was.at);
            let is = is.map_or("no instruction".to_owned(), |it| it.text.clone());
            format!("{} -> {is}", was.text)
        }
        None => "read by nothing".to_owned(),
    };
    format!("{:#x}.{}  {what}", bit.0, bit.1)
}
