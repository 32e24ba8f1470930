//! i386 and x86_64: Intel's Software Developer's Manual, volume 2.

use super::{Above, Flow, Instruction, Isa, Machine, number};
use crate::term::Term;
use anyhow::{Context, Result};
use capstone::{Arch, Mode};

pub const I386: Isa = Isa {
    decoder: (Arch::X86, Mode::Mode32, None, None),
    bits: 32,
    is_big_endian: false,
    step: 1,
    aligned: false,
    registers: &["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"],
    flags: &["cf", "zf", "sf", "of"],
    flag_bits: 1,
    part: |name| {
        Some(match name {
            "al" => ("eax", 0, 8, Above::Stays),
            "bl" => ("ebx", 0, 8, Above::Stays),
            "cl" => ("ecx", 0, 8, Above::Stays),
            "dl" => ("edx", 0, 8, Above::Stays),
            _ => return None,
        })
    },
    meaning,
};

pub const X86_64: Isa = Isa {
    decoder: (Arch::X86, Mode::Mode64, None, None),
    bits: 64,
    registers: &[
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ],
    flags: &["cf", "zf", "sf", "of"],
    flag_bits: 1,
    part: |name| {
        const LEGACY: [[&str; 3]; 8] = [
            ["rax", "eax", "al"],
            ["rbx", "ebx", "bl"],
            ["rcx", "ecx", "cl"],
            ["rdx", "edx", "dl"],
            ["rsi", "esi", "sil"],
            ["rdi", "edi", "dil"],
            ["rbp", "ebp", "bpl"],
            ["rsp", "esp", "spl"],
        ];
        let new = name.strip_suffix('d').and_then(|of| {
            let all = X86_64.registers.iter().copied();
            all.into_iter().find(|it| *it == of)
        });
        LEGACY
            .iter()
            .find_map(|[of, low, byte]| match name {
                _ if name == *low => Some((*of, 0, 32, Above::Zeros)),
                _ if name == *byte => Some((*of, 0, 8, Above::Stays)),
                _ => None,
            })
            .or(new.map(|of| (of, 0, 32, Above::Zeros)))
    },
    ..I386
};

/// A register, a number or memory: `dword ptr [esp + 4]`.
fn read(m: &mut Machine, text: &str, bits: u32) -> Result<Term> {
    match size(text) {
        Some(bytes) => {
            let address = address(m, text)?;
            m.memory.load(&address, bytes)
        }
        None => m.value(text, bits),
    }
}

fn size(text: &str) -> Option<u32> {
    Some(match text.split_once(' ')?.0 {
        "byte" => 1,
        "dword" => 4,
        "qword" => 8,
        _ => return None,
    })
}

/// The address in brackets.
fn address(m: &Machine, text: &str) -> Result<Term> {
    let inner = text
        .split_once('[')
        .filter(|it| it.0.is_empty() || it.0.ends_with("word ptr "));
    let inner = inner.and_then(|it| it.1.strip_suffix(']'));
    let inner = inner.with_context(|| format!("`{text}` is no address"))?;
    let mut sum = Term::number(0, m.isa.bits);
    for part in inner.replace("- ", "+ -").split(" + ") {
        sum = sum.add(&m.value(part, m.isa.bits)?);
    }
    Ok(sum)
}

fn flags(m: &mut Machine, result: &Term, carry: &Term, overflow: &Term) -> Result<()> {
    m.set("zf", &result.is_number(0))?;
    m.set("sf", &result.sign())?;
    m.set("cf", carry)?;
    m.set("of", overflow)
}

fn push(m: &mut Machine, value: &Term) -> Result<()> {
    let stack = if m.isa.bits == 64 { "rsp" } else { "esp" };
    let address = m.get(stack)?.plus(-i64::from(m.isa.bits / 8));
    m.set(stack, &address)?;
    m.memory.store(&address, value)
}

fn meaning(m: &mut Machine, i: &Instruction) -> Result<Flow> {
    let word = m.isa.bits;
    let no = Term::truth(false);
    let operands: Vec<&str> = i.operands.iter().map(String::as_str).collect();
    let next = i.at + i.length;
    match (&*i.name, &*operands) {
        ("mov", [to, from]) if size(to).is_some() => {
            let (place, value) = (address(m, to)?, m.get(from)?);
            m.memory.store(&place, &value)?;
        }
        ("mov", [to, from]) => {
            let bits = m.get(to)?.bits;
            let value = read(m, from, bits)?;
            m.set(to, &value)?;
        }
        ("movzx", [to, from]) => {
            let value = m.get(from)?.zeros(m.get(to)?.bits);
            m.set(to, &value)?;
        }
        ("xchg", [a, b]) => {
            let (old_a, old_b) = (m.get(a)?, m.get(b)?);
            m.set(a, &old_b)?;
            m.set(b, &old_a)?;
        }
        ("lea", [to, from]) => {
            let value = match from.strip_prefix("[rip + ") {
                Some(offset) => m
                    .memory
                    .address(next)
                    .plus(number(offset.trim_end_matches(']'))?),
                None => address(m, from)?,
            };
            m.set(to, &value)?;
        }
        ("push", [from]) => {
            let value = m.value(from, word)?;
            push(m, &value)?;
        }
        ("pop", [to]) => {
            let stack = if word == 64 { "rsp" } else { "esp" };
            let address = m.get(stack)?;
            let value = m.memory.load(&address, word / 8)?;
            m.set(stack, &address.plus((word / 8).into()))?;
            m.set(to, &value)?;
        }
        // The direction flag is clear wherever the kernel enters (System V ABI).
        ("lodsq", ["rax", "qword ptr [rsi]"]) => {
            let address = m.get("rsi")?;
            let value = m.memory.load(&address, 8)?;
            m.set("rax", &value)?;
            m.set("rsi", &address.plus(8))?;
        }
        ("add", [to, from]) => {
            let a = m.get(to)?;
            let b = read(m, from, a.bits)?;
            let result = a.add(&b);
            let overflow = a.xor(&result).and(&b.xor(&result)).sign();
            flags(m, &result, &result.below(&a), &overflow)?;
            m.set(to, &result)?;
        }
        ("sub" | "cmp", [to, from]) => {
            let a = m.get(to)?;
            let b = read(m, from, a.bits)?;
            let result = a.sub(&b);
            let overflow = a.xor(&b).and(&a.xor(&result)).sign();
            flags(m, &result, &a.below(&b), &overflow)?;
            if i.name == "sub" {
                m.set(to, &result)?;
            }
        }
        ("and" | "test" | "xor", [to, from]) => {
            let a = m.get(to)?;
            let b = read(m, from, a.bits)?;
            let result = if i.name == "xor" {
                a.xor(&b)
            } else {
                a.and(&b)
            };
            flags(m, &result, &no, &no)?;
            if i.name != "test" {
                m.set(to, &result)?;
            }
        }
        // Carry stays as it is.
        ("inc" | "dec", [to]) => {
            let a = m.get(to)?;
            let result = a.plus(if i.name == "inc" { 1 } else { -1 });
            let turned = if i.name == "inc" {
                result.xor(&a).and(&result)
            } else {
                result.xor(&a).and(&a)
            };
            let carry = m.get("cf")?;
            flags(m, &result, &carry, &turned.sign())?;
            m.set(to, &result)?;
        }
        ("shr", [to, count]) => {
            let (a, count) = (m.get(to)?, number(count)?);
            if !(1..a.bits.into()).contains(&count) {
                return i.unknown();
            }
            let (result, any) = (a.shift(-(count as i32)), m.memory.any(1));
            let overflow = if count == 1 { a.sign() } else { any };
            flags(m, &result, &a.bit(count as u32 - 1), &overflow)?;
            m.set(to, &result)?;
        }
        // Of the flags, two are undefined, and nothing looks at the others.
        ("imul", [to, from, by]) => {
            let result = m
                .get(from)?
                .mul(&Term::number(number(by)?, m.get(from)?.bits));
            for flag in ["cf", "zf", "sf", "of"] {
                let any = m.memory.any(1);
                m.set(flag, &any)?;
            }
            m.set(to, &result)?;
        }
        ("bt", [of, bit]) => {
            let value = m.get(of)?;
            let bit = number(bit)? as u32 % value.bits;
            m.set("cf", &value.bit(bit))?;
        }
        ("call", [to]) => {
            let back = m.memory.address(next);
            push(m, &back)?;
            return Ok(Flow::Jump(m.memory.address(number(to)? as u64)));
        }
        ("jmp", [to]) => return Ok(Flow::Jump(m.memory.address(number(to)? as u64))),
        (name, [to]) if name.starts_with('j') => {
            let condition = match name {
                "je" => m.get("zf")?,
                "jne" => m.get("zf")?.not(),
                "jb" => m.get("cf")?,
                "js" => m.get("sf")?,
                "jg" => m.get("zf")?.not().and(&m.get("sf")?.is(&m.get("of")?)),
                _ => return i.unknown(),
            };
            return Ok(Flow::Branch(condition, number(to)? as u64));
        }
        ("int", ["0x80"]) if word == 32 => return Ok(Flow::Kernel),
        ("syscall", []) if word == 64 => return Ok(Flow::Kernel),
        _ => return i.unknown(),
    }
    Ok(Flow::Next)
}
