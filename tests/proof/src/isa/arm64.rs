//! AArch64: the Arm Architecture Reference Manual, A-profile, part C.

use super::{Above, Flow, Instruction, Isa, Machine, number};
use crate::term::Term;
use anyhow::Result;
use capstone::{Arch, Mode};

pub const ISA: Isa = Isa {
    decoder: (Arch::ARM64, Mode::Arm, None, None),
    bits: 64,
    is_big_endian: false,
    step: 4,
    aligned: false,
    registers: &[
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
        "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
        "x27", "x28", "x29", "x30", "sp",
    ],
    flags: &["n", "z", "c", "v"],
    flag_bits: 1,
    part: |name| {
        let number: usize = name.strip_prefix('w')?.parse().ok()?;
        let of = ISA.registers[..31].get(number)?;
        Some((of, 0, 32, Above::Zeros))
    },
    meaning,
};

/// A register of any size, the zero register, or a number of as many bits.
fn value(m: &Machine, text: &str, bits: u32) -> Result<Term> {
    match text {
        "xzr" => Ok(Term::number(0, 64)),
        "wzr" => Ok(Term::number(0, 32)),
        _ => m
            .get(text)
            .or_else(|_| Ok(Term::number(number(text)?, bits))),
    }
}

/// The register and the number in brackets.
fn address(m: &Machine, text: &str) -> Result<(String, Term)> {
    let inner = text.trim_matches(['[', ']', '!']);
    let (register, offset) = inner.split_once(", ").unwrap_or((inner, "0"));
    let address = m.sum(register, offset)?;
    // The processor checks that sp is aligned wherever it leads to memory.
    match m.get("sp")?.place() {
        Some((_, offset)) if register == "sp" && offset % 16 != 0 => {
            anyhow::bail!("the stack is not aligned: {text}")
        }
        _ => Ok((register.to_owned(), address)),
    }
}

fn meaning(m: &mut Machine, i: &Instruction) -> Result<Flow> {
    let operands: Vec<&str> = i.operands.iter().map(String::as_str).collect();
    match (&*i.name, &*operands) {
        ("mov", [to, from]) => {
            let value = value(m, from, m.get(to)?.bits)?;
            m.set(to, &value)?;
        }
        ("add" | "and", [to, a, b]) => {
            let a = value(m, a, m.get(to)?.bits)?;
            let b = value(m, b, a.bits)?;
            let result = if i.name == "add" {
                a.add(&b)
            } else {
                a.and(&b)
            };
            m.set(to, &result)?;
        }
        ("lsr", [to, from, by]) => {
            let result = value(m, from, 0)?.shift(-(number(by)? as i32));
            m.set(to, &result)?;
        }
        ("msub", [to, a, b, from]) => {
            let product = value(m, a, 64)?.mul(&value(m, b, 64)?);
            let result = value(m, from, 64)?.sub(&product);
            m.set(to, &result)?;
        }
        ("adr", [to, place]) => {
            let address = m.memory.address(number(place)? as u64);
            m.set(to, &address)?;
        }
        ("stp", [a, b, place]) if place.ends_with('!') => {
            let (register, address) = address(m, place)?;
            let (a, b) = (value(m, a, 64)?, value(m, b, 64)?);
            m.memory.store(&address, &a)?;
            m.memory.store(&address.plus((a.bits / 8).into()), &b)?;
            m.set(&register, &address)?;
        }
        ("ldr", [to, place, behind]) => {
            let (register, address) = address(m, place)?;
            let value = m.memory.load(&address, m.get(to)?.bits / 8)?;
            m.set(&register, &address.plus(number(behind)?))?;
            m.set(to, &value)?;
        }
        ("ldur", [to, place]) => {
            let (_, address) = address(m, place)?;
            let value = m.memory.load(&address, m.get(to)?.bits / 8)?;
            m.set(to, &value)?;
        }
        ("cmp" | "cmn", [a, b, shift @ ..]) => {
            let a = value(m, a, 64)?;
            let mut b = value(m, b, a.bits)?;
            match shift {
                [] => {}
                [shift] if shift.starts_with("lsr ") => b = b.shift(-(number(&shift[4..])? as i32)),
                _ => return i.unknown(),
            }
            if i.name == "cmp" {
                m.compare(&a, &b)?
            } else {
                m.compare_negative(&a, &b)?
            };
        }
        ("tbnz", [register, bit, to]) => {
            let condition = value(m, register, 64)?.bit(number(bit)? as u32);
            return Ok(Flow::Branch(condition, number(to)? as u64));
        }
        ("cbz", [register, to]) => {
            let condition = value(m, register, 64)?.is_number(0);
            return Ok(Flow::Branch(condition, number(to)? as u64));
        }
        ("b", [to]) => return Ok(Flow::Jump(m.memory.address(number(to)? as u64))),
        (name, [to]) if name.starts_with("b.") => match m.condition(&name[2..])? {
            Some(condition) => return Ok(Flow::Branch(condition, number(to)? as u64)),
            None => return i.unknown(),
        },
        ("svc", ["#0"]) => return Ok(Flow::Kernel),
        _ => return i.unknown(),
    }
    Ok(Flow::Next)
}
