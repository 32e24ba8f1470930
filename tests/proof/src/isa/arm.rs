//! Arm's Thumb, of which pause has what v6-M has: the Armv6-M Architecture Reference Manual, part A6.

use super::{Above, Flow, Instruction, Isa, Machine, number};
use crate::term::Term;
use anyhow::Result;
use capstone::{Arch, Mode};

pub const ISA: Isa = Isa {
    decoder: (Arch::ARM, Mode::Thumb, None, None),
    bits: 32,
    is_big_endian: false,
    step: 2,
    aligned: true,
    registers: &[
        "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "sb", "sl", "fp", "ip", "sp", "lr",
    ],
    flags: &["n", "z", "c", "v"],
    flag_bits: 1,
    part: |_| None::<(&str, u32, u32, Above)>,
    meaning,
};

/// Where the processor takes its own place to be.
fn here(m: &Machine, i: &Instruction) -> Term {
    m.memory.address(i.at + 4)
}

/// The same in whole words; so is where the file lies in memory.
fn here_in_words(m: &Machine, i: &Instruction, offset: &str) -> Result<Term> {
    Ok(m.memory.address((i.at + 4) & !3).plus(number(offset)?))
}

fn address(m: &Machine, i: &Instruction, text: &str) -> Result<Term> {
    let inner = text.trim_matches(['[', ']']);
    match inner.split_once(", ").unwrap_or((inner, "0")) {
        ("pc", offset) => here_in_words(m, i, offset),
        (register, offset) => m.sum(register, offset),
    }
}

/// N and Z of a result.
fn flags(m: &mut Machine, result: &Term) -> Result<()> {
    m.set("n", &result.sign())?;
    m.set("z", &result.is_number(0))
}

fn meaning(m: &mut Machine, i: &Instruction) -> Result<Flow> {
    let operands: Vec<&str> = i.operands.iter().map(String::as_str).collect();
    let list = |text: &str| -> Vec<String> {
        text.trim_matches(['{', '}'])
            .split(", ")
            .map(str::to_owned)
            .collect()
    };
    match (&*i.name, &*operands) {
        ("mov", [to, from]) => {
            let value = m.get(from)?;
            m.set(to, &value)?;
        }
        ("movs", [to, from]) => {
            let value = Term::number(number(from)?, 32);
            flags(m, &value)?;
            m.set(to, &value)?;
        }
        ("mvns", [to, from]) => {
            let value = m.get(from)?.not();
            flags(m, &value)?;
            m.set(to, &value)?;
        }
        ("add", [to, "pc"]) => {
            let value = m.get(to)?.add(&here(m, i));
            m.set(to, &value)?;
        }
        ("add", [to, "sp", offset]) => {
            let value = m.sum("sp", offset)?;
            m.set(to, &value)?;
        }
        ("adds", [to, .., b]) => {
            let a = m.get(operands[operands.len() - 2])?;
            let b = m.value(b, 32)?;
            let result = m.compare_negative(&a, &b)?;
            m.set(to, &result)?;
        }
        ("subs", [to, a, b]) => {
            let (a, b) = (m.get(a)?, m.value(b, 32)?);
            let result = m.compare(&a, &b)?;
            m.set(to, &result)?;
        }
        ("cmp", [a, b]) => {
            let (a, b) = (m.get(a)?, m.value(b, 32)?);
            m.compare(&a, &b)?;
        }
        ("ands", [to, from]) => {
            let result = m.get(to)?.and(&m.get(from)?);
            flags(m, &result)?;
            m.set(to, &result)?;
        }
        ("muls", [to, from, _]) => {
            let result = m.get(to)?.mul(&m.get(from)?);
            flags(m, &result)?;
            m.set(to, &result)?;
        }
        ("lsls" | "lsrs", [to, from, by]) => {
            let (from, by) = (m.get(from)?, number(by)? as u32);
            if !(1..32).contains(&by) {
                return i.unknown();
            }
            let left = i.name == "lsls";
            let result = from.shift(if left { by as i32 } else { -(by as i32) });
            m.set("c", &from.bit(if left { 32 - by } else { by - 1 }))?;
            flags(m, &result)?;
            m.set(to, &result)?;
        }
        ("adr", [to, offset]) => {
            let value = here_in_words(m, i, offset)?;
            m.set(to, &value)?;
        }
        ("ldr" | "ldrb", [to, place]) => {
            let place = address(m, i, place)?;
            let value = m.memory.load(&place, if i.name == "ldr" { 4 } else { 1 })?;
            m.set(to, &value.zeros(32))?;
        }
        ("str", [from, place]) => {
            let (place, value) = (address(m, i, place)?, m.get(from)?);
            m.memory.store(&place, &value)?;
        }
        ("ldm", [base, registers]) if base.ends_with('!') => {
            let base = base.trim_end_matches('!');
            let mut place = m.get(base)?;
            for register in list(registers) {
                let value = m.memory.load(&place, 4)?;
                place = place.plus(4);
                m.set(&register, &value)?;
            }
            m.set(base, &place)?;
        }
        ("push", [registers]) => {
            let registers = list(registers);
            let mut place = m.get("sp")?.plus(-4 * registers.len() as i64);
            m.set("sp", &place)?;
            for register in registers {
                let value = m.get(&register)?;
                m.memory.store(&place, &value)?;
                place = place.plus(4);
            }
        }
        ("pop", [registers]) => {
            let (mut place, mut flow) = (m.get("sp")?, Flow::Next);
            for register in list(registers) {
                let value = m.memory.load(&place, 4)?;
                place = place.plus(4);
                if register == "pc" {
                    // Its lowest bit says that Thumb goes on.
                    flow = Flow::Jump(value.plus(-1));
                } else {
                    m.set(&register, &value)?;
                }
            }
            m.set("sp", &place)?;
            return Ok(flow);
        }
        ("bl", [to]) => {
            let back = m.memory.address(i.at + i.length).plus(1);
            m.set("lr", &back)?;
            return Ok(Flow::Jump(m.memory.address(number(to)? as u64)));
        }
        ("b", [to]) => return Ok(Flow::Jump(m.memory.address(number(to)? as u64))),
        ("svc", ["#0"]) => return Ok(Flow::Kernel),
        (name, [to]) if name.starts_with('b') => match m.condition(&name[1..])? {
            Some(condition) => return Ok(Flow::Branch(condition, number(to)? as u64)),
            None => return i.unknown(),
        },
        _ => return i.unknown(),
    }
    Ok(Flow::Next)
}
