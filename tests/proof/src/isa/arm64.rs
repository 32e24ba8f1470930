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
        ("x0", 64),
        ("x1", 64),
        ("x2", 64),
        ("x3", 64),
        ("x4", 64),
        ("x5", 64),
        ("x6", 64),
        ("x7", 64),
        ("x8", 64),
        ("x9", 64),
        ("x10", 64),
        ("x11", 64),
        ("x12", 64),
        ("x13", 64),
        ("x14", 64),
        ("x15", 64),
        ("x16", 64),
        ("x17", 64),
        ("x18", 64),
        ("x19", 64),
        ("x20", 64),
        ("x21", 64),
        ("x22", 64),
        ("x23", 64),
        ("x24", 64),
        ("x25", 64),
        ("x26", 64),
        ("x27", 64),
        ("x28", 64),
        ("x29", 64),
        ("x30", 64),
        ("sp", 64),
        ("n", 1),
        ("z", 1),
        ("c", 1),
        ("v", 1),
    ],
    part: |name| {
        let number: usize = name.strip_prefix('w')?.parse().ok()?;
        let of = ISA.registers[..31].get(number)?.0;
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
