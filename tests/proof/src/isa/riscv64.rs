//! RV64IMC: the RISC-V Instruction Set Manual, volume I.

use super::{Flow, Instruction, Isa, Machine, number};
use crate::term::Term;
use anyhow::Result;
use capstone::{Arch, ExtraMode, Mode};

pub const ISA: Isa = Isa {
    decoder: (Arch::RISCV, Mode::RiscV64, Some(ExtraMode::RiscVC), None),
    bits: 64,
    is_big_endian: false,
    step: 2,
    aligned: true,
    registers: &[
        "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
        "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5",
        "t6",
    ],
    flags: &[],
    flag_bits: 1,
    part: |_| None,
    meaning,
};

/// A register, that of zeros, or a number.
fn value(m: &Machine, text: &str) -> Result<Term> {
    if text == "zero" {
        Ok(Term::number(0, 64))
    } else {
        m.value(text, 64)
    }
}

fn set(m: &mut Machine, to: &str, result: &Term) -> Result<()> {
    if to == "zero" {
        Ok(())
    } else {
        m.set(to, result)
    }
}

fn meaning(m: &mut Machine, i: &Instruction) -> Result<Flow> {
    let mut operands: Vec<&str> = i.operands.iter().map(String::as_str).collect();
    // The short forms mean what the long ones do, and one operand is both source and target.
    let name = i.name.strip_prefix("c.");
    if let (Some("addi" | "addi16sp" | "addiw" | "and" | "srli" | "add"), [to, _]) =
        (name, &*operands)
    {
        operands.insert(1, to);
    }
    let to = |text: &str| -> Result<u64> { Ok(i.at.wrapping_add_signed(number(text)?)) };
    match (name.unwrap_or(&i.name), &*operands) {
        ("li" | "mv", [to, from]) => {
            let from = value(m, from)?;
            set(m, to, &from)?;
        }
        ("lui", [to, from]) => set(m, to, &Term::number(number(from)? << 12, 32).signs(64))?,
        ("auipc", [to, from]) => {
            let result = m
                .memory
                .address(i.at)
                .add(&Term::number(number(from)? << 12, 32).signs(64));
            set(m, to, &result)?;
        }
        ("addi" | "add" | "addi4spn" | "addi16sp", [to, a, b]) => {
            let result = value(m, a)?.add(&value(m, b)?);
            set(m, to, &result)?;
        }
        ("sub" | "and" | "andi" | "mul", [to, a, b]) => {
            let (a, b) = (value(m, a)?, value(m, b)?);
            let result = match name.unwrap_or(&i.name) {
                "sub" => a.sub(&b),
                "mul" => a.mul(&b),
                _ => a.and(&b),
            };
            set(m, to, &result)?;
        }
        ("addiw", [to, a, b]) => {
            let result = value(m, a)?.add(&value(m, b)?).extract(0, 32).signs(64);
            set(m, to, &result)?;
        }
        ("srliw", [to, from, by]) => {
            let result = value(m, from)?
                .extract(0, 32)
                .shift(-(number(by)? as i32))
                .signs(64);
            set(m, to, &result)?;
        }
        ("srli", [to, from, by]) => {
            let result = value(m, from)?.shift(-(number(by)? as i32));
            set(m, to, &result)?;
        }
        ("seqz", [to, from]) => {
            let result = value(m, from)?.is_number(0).zeros(64);
            set(m, to, &result)?;
        }
        ("sdsp", [from, place]) => {
            let (address, value) = (m.place(place)?, value(m, from)?);
            m.memory.store(&address, &value)?;
        }
        ("ld" | "lbu", [to, place]) => {
            let address = m.place(place)?;
            let value = m
                .memory
                .load(&address, if i.name == "lbu" { 1 } else { 8 })?;
            set(m, to, &value.zeros(64))?;
        }
        ("j", [place]) => return Ok(Flow::Jump(m.memory.address(to(place)?))),
        ("beqz", [a, place]) => return Ok(Flow::Branch(value(m, a)?.is_number(0), to(place)?)),
        ("bnez", [a, place]) => {
            return Ok(Flow::Branch(value(m, a)?.is_number(0).not(), to(place)?));
        }
        ("bltz", [a, place]) => return Ok(Flow::Branch(value(m, a)?.sign(), to(place)?)),
        ("beq", [a, b, place]) => {
            return Ok(Flow::Branch(value(m, a)?.is(&value(m, b)?), to(place)?));
        }
        ("blt", [a, b, place]) => {
            return Ok(Flow::Branch(value(m, a)?.less(&value(m, b)?), to(place)?));
        }
        ("ecall", []) => return Ok(Flow::Kernel),
        _ => return i.unknown(),
    }
    Ok(Flow::Next)
}
