//! s390x: IBM's z/Architecture Principles of Operation.

use super::{Above, Flow, Instruction, Isa, Machine, number};
use crate::term::Term;
use anyhow::Result;
use capstone::{Arch, Endian, Mode};

pub const ISA: Isa = Isa {
    decoder: (Arch::SYSZ, Mode::Default, None, Some(Endian::Big)),
    bits: 64,
    is_big_endian: true,
    step: 2,
    aligned: false,
    registers: &[
        "%r0", "%r1", "%r2", "%r3", "%r4", "%r5", "%r6", "%r7", "%r8", "%r9", "%r10", "%r11",
        "%r12", "%r13", "%r14", "%r15",
    ],
    flags: &["cc"],
    flag_bits: 2,
    // The lower half, by a name of our own.
    part: |name| {
        let of = name.strip_prefix("low ")?;
        let of = ISA.registers.iter().find(|it| **it == of)?;
        Some((of, 0, 32, Above::Stays))
    },
    meaning,
};

/// A condition code as comparing sets it.
fn compare(m: &mut Machine, equal: &Term, less: &Term) -> Result<()> {
    let code = |it| Term::number(it, 2);
    m.set(
        "cc",
        &equal.choose(&code(0), &less.choose(&code(1), &code(2))),
    )
}

fn low(register: &str) -> String {
    format!("low {register}")
}

fn meaning(m: &mut Machine, i: &Instruction) -> Result<Flow> {
    let operands: Vec<&str> = i.operands.iter().map(String::as_str).collect();
    match (&*i.name, &*operands) {
        ("la", [to, place]) => {
            let address = m.place(place)?;
            m.set(to, &address)?;
        }
        ("larl", [to, place]) => {
            let address = m.memory.address(number(place)? as u64);
            m.set(to, &address)?;
        }
        ("lgr", [to, from]) => {
            let value = m.get(from)?;
            m.set(to, &value)?;
        }
        ("lr", [to, from]) => {
            let value = m.get(&low(from))?;
            m.set(&low(to), &value)?;
        }
        ("lghi", [to, value]) => m.set(to, &Term::number(number(value)?, 64))?,
        ("lhi" | "iilf", [to, value]) => m.set(&low(to), &Term::number(number(value)?, 32))?,
        ("llilh", [to, value]) => m.set(to, &Term::number(number(value)? << 16, 64))?,
        // Nothing looks at the condition code of these sums.
        ("aghi" | "sgr" | "algfr", [to, from]) => {
            let a = m.get(to)?;
            let result = match &*i.name {
                "aghi" => a.plus(number(from)?),
                "sgr" => a.sub(&m.get(from)?),
                _ => a.add(&m.get(&low(from))?.zeros(64)),
            };
            let any = m.memory.any(2);
            m.set("cc", &any)?;
            m.set(to, &result)?;
        }
        ("msgr", [to, from]) => {
            let result = m.get(to)?.mul(&m.get(from)?);
            m.set(to, &result)?;
        }
        ("n" | "nilf", [to, from]) => {
            let mask = match &*i.name {
                "n" => {
                    let address = m.place(from)?;
                    m.memory.load(&address, 4)?
                }
                _ => Term::number(number(from)?, 32),
            };
            let result = m.get(&low(to))?.and(&mask);
            m.set("cc", &result.is_number(0).not().zeros(2))?;
            m.set(&low(to), &result)?;
        }
        ("srl", [to, by]) => {
            let result = m.get(&low(to))?.shift(-((number(by)? & 63) as i32));
            m.set(&low(to), &result)?;
        }
        // Turns, and keeps the bits from the first to the last, of which 128 clears the others.
        ("risbg", [to, from, first, last, by]) => {
            let (first, last) = (number(first)?, number(last)? - 128);
            if !(0..64).contains(&first) || !(first..64).contains(&last) {
                return i.unknown();
            }
            let mask = u64::MAX >> first & u64::MAX << (63 - last);
            let turned = m.get(from)?.rotate_left((number(by)? & 63) as i32);
            let result = turned.and(&Term::number(mask as i64, 64));
            compare(m, &result.is_number(0), &result.sign())?;
            m.set(to, &result)?;
        }
        ("cfi", [register, value]) => {
            let (a, b) = (m.get(&low(register))?, Term::number(number(value)?, 32));
            compare(m, &a.is(&b), &a.less(&b))?;
        }
        ("ltg", [to, place]) => {
            let address = m.place(place)?;
            let value = m.memory.load(&address, 8)?;
            compare(m, &value.is_number(0), &value.sign())?;
            m.set(to, &value)?;
        }
        ("stmg", [from, to, place]) => {
            let mut address = m.place(place)?;
            let index = |name: &str| ISA.registers.iter().position(|it| *it == name);
            let (Some(from), Some(to)) = (index(from), index(to)) else {
                return i.unknown();
            };
            // It goes on with register 0 behind the last.
            for step in 0..=(to + 16 - from) % 16 {
                let value = m.registers[(from + step) % 16].clone();
                m.memory.store(&address, &value)?;
                address = address.plus(8);
            }
        }
        ("cije" | "cijl" | "cijh", [register, value, to]) => {
            let (a, b) = (m.get(&low(register))?, Term::number(number(value)?, 32));
            let condition = match &*i.name {
                "cije" => a.is(&b),
                "cijl" => a.less(&b),
                _ => b.less(&a),
            };
            return Ok(Flow::Branch(condition, number(to)? as u64));
        }
        ("je", [to]) => return Ok(Flow::Branch(m.get("cc")?.is_number(0), number(to)? as u64)),
        ("jlh", [to]) => {
            let code = m.get("cc")?;
            let condition = code.is_number(1).or(&code.is_number(2));
            return Ok(Flow::Branch(condition, number(to)? as u64));
        }
        ("j", [to]) => return Ok(Flow::Jump(m.memory.address(number(to)? as u64))),
        ("svc", ["0"]) => return Ok(Flow::Kernel),
        _ => return i.unknown(),
    }
    Ok(Flow::Next)
}
