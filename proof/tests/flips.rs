//! Where a bit of the file is flipped, the proof fails, or proves the new program as well: then it is an
//! equal one. `make mutants` sets EVERY to 1, flips all bits, and lists the equal programs.

use itertools::iproduct;
use proof::{Program, Prover, Report, elf, isa::Decoder};
use std::{env, thread};

/// Of so many bits one is flipped. 13 is prime to 8, so that each bit of a byte has its turn.
const EVERY: usize = 13;

/// A bit of the file: the byte's offset, and the bit's number, 0 the lowest.
type Bit = (usize, u32);

fn flip(file: &[u8], (offset, bit): Bit) -> Vec<u8> {
    let mut flipped = file.to_vec();
    flipped[offset] ^= 1 << bit;
    flipped
}

/// The bits that make a program which is proved as well.
fn equal(program: &Program, bits: &[Bit]) -> Vec<Bit> {
    let mut prover = Prover::new(program.platform).unwrap();
    let is_equal = |bit: &Bit| prover.prove(&flip(&program.bytes, *bit)).is_ok();
    bits.iter().copied().filter(is_equal).collect()
}

/// The instruction without and with the bit flipped: `0x95.3 mov r2, r0 -> mov r2, r8`.
fn describe(program: &Program, report: &Report, decoder: &mut Decoder, bit: Bit) -> String {
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

#[test]
fn every_bit_counts_or_makes_an_equal_program() {
    let every = env::var("EVERY").map_or(EVERY, |it| it.parse().unwrap());
    for program in Program::all().unwrap() {
        let (name, report) = (&program.name, program.prove().unwrap());
        let bits = iproduct!(0..program.bytes.len(), 0..8).step_by(every);
        let bits: Vec<Bit> = bits.collect();
        let (some, others) = bits.split_at(bits.len() / 2);
        let found = thread::scope(|scope| {
            let others = scope.spawn(|| equal(&program, others));
            [equal(&program, some), others.join().unwrap()].concat()
        });
        let (equal, caught) = (found.len(), bits.len() - found.len());
        let all = bits.len();
        println!("{name}: {all} bits = {caught} caught + {equal} proved, too");
        let mut decoder = Decoder::new(program.platform);
        for (at, bit) in found {
            let described = describe(&program, &report, &mut decoder, (at, bit));
            println!("    {described}");
            let may_be = at >= elf::code(program.platform) && report.kind(at) != "read";
            let otherwise = "is a header or a text that may be another";
            assert!(may_be, "{name}: {at:#x}.{bit} {otherwise}");
        }
        // A processor looks at most bits of an instruction.
        let otherwise = format!("{name}: {equal} of {all} are proved, too");
        assert!(equal * 8 < caught, "{otherwise}");
    }
}
