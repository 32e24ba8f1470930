//! powerpc64, little-endian: the Power ISA, book I.

use super::{Flow, Instruction, Isa, Machine, number};
use crate::term::Term;
use anyhow::Result;
use capstone::{Arch, Endian, Mode};

pub const ISA: Isa = Isa {
    decoder: (Arch::PPC, Mode::Mode64, None, Some(Endian::Little)),
    bits: 64,
    is_big_endian: false,
    step: 4,
    aligned: false,
    registers: &[
        "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15", "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26",
        "r27", "r28", "r29", "r30", "r31",
    ],
    flags: &["lt", "gt", "eq", "so", "xer.so"],
    flag_bits: 1,
    part: |_| None,
    meaning,
};

/// A result compared with 0, or two numbers, as the processor does: in CR0.
fn compare(m: &mut Machine, less: &Term, equal: &Term) -> Result<()> {
    let overflow = m.get("xer.so")?;
    m.set("lt", less)?;
    m.set("gt", &less.or(equal).not())?;
    m.set("eq", equal)?;
    m.set("so", &overflow)
}

fn meaning(m: &mut Machine, i: &Instruction) -> Result<Flow> {
    let operands: Vec<&str> = i.operands.iter().map(String::as_str).collect();
    match (&*i.name, &*operands) {
        // Register 0 would be the number 0; the decoder prints it so.
        ("addi", [to, from, number]) => {
            let result = m.sum(from, number)?;
            m.set(to, &result)?;
        }
        ("li", [to, value]) => m.set(to, &Term::number(number(value)?, 64))?,
        ("lis", [to, value]) => m.set(to, &Term::number(number(value)? << 16, 64))?,
        ("mr", [to, from]) => {
            let value = m.get(from)?;
            m.set(to, &value)?;
        }
        ("add" | "mulld" | "subf", [to, a, b]) => {
            let (a, b) = (m.get(a)?, m.get(b)?);
            let result = match &*i.name {
                "add" => a.add(&b),
                "mulld" => a.mul(&b),
                _ => b.sub(&a),
            };
            m.set(to, &result)?;
        }
        ("neg", [to, from]) => {
            let result = Term::number(0, 64).sub(&m.get(from)?);
            m.set(to, &result)?;
        }
        ("andi.", [to, from, mask]) => {
            let result = m.get(from)?.and(&Term::number(number(mask)?, 64));
            compare(m, &result.sign(), &result.is_number(0))?;
            m.set(to, &result)?;
        }
        ("srwi", [to, from, by]) => {
            let result = m.get(from)?.extract(0, 32).shift(-(number(by)? as i32));
            m.set(to, &result.zeros(64))?;
        }
        ("clrlwi", [to, from, by]) => {
            let result = m
                .get(from)?
                .and(&Term::number(0xffff_ffff >> number(by)?, 64));
            m.set(to, &result)?;
        }
        // Without a turn, and the mask not around the end.
        ("rlwinm", [to, from, "0", first, last]) if number(first)? <= number(last)? => {
            let mask = 0xffff_ffff >> number(first)? & 0xffff_ffff << (31 - number(last)?);
            let result = m.get(from)?.and(&Term::number(mask, 64));
            m.set(to, &result)?;
        }
        ("cmpwi" | "cmplwi" | "cmpldi", [a, b]) => {
            let bits = if i.name == "cmpldi" { 64 } else { 32 };
            let (a, b) = (m.get(a)?.extract(0, bits), Term::number(number(b)?, bits));
            let less = if i.name == "cmpwi" {
                a.less(&b)
            } else {
                a.below(&b)
            };
            compare(m, &less, &a.is(&b))?;
        }
        ("std" | "stdu", [from, place]) => {
            let (address, value) = (m.place(place)?, m.get(from)?);
            m.memory.store(&address, &value)?;
            if i.name == "stdu" {
                m.set(base(place), &address)?;
            }
        }
        ("lbz", [to, place]) => {
            let address = m.place(place)?;
            let value = m.memory.load(&address, 1)?.zeros(64);
            m.set(to, &value)?;
        }
        ("ldu", [to, place]) => {
            let address = m.place(place)?;
            let value = m.memory.load(&address, 8)?;
            m.set(base(place), &address)?;
            m.set(to, &value)?;
        }
        ("b", [to]) => return Ok(Flow::Jump(m.memory.address(number(to)? as u64))),
        ("blt" | "ble" | "bgt" | "beq" | "bne" | "bns", [to]) => {
            let condition = match &*i.name {
                "blt" => m.get("lt")?,
                "ble" => m.get("gt")?.not(),
                "bgt" => m.get("gt")?,
                "beq" => m.get("eq")?,
                "bne" => m.get("eq")?.not(),
                _ => m.get("so")?.not(),
            };
            return Ok(Flow::Branch(condition, number(to)? as u64));
        }
        ("sc", []) => return Ok(Flow::Kernel),
        _ => return i.unknown(),
    }
    Ok(Flow::Next)
}

/// The register in an address as `8(r1)`.
fn base(place: &str) -> &str {
    place.split(['(', ')']).nth(1).unwrap_or_default()
}
