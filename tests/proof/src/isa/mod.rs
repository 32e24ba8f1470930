//! What the instructions of a processor mean, one file for each. The decoder is capstone; an
//! instruction is matched by its text. Only what pause has is there: anything else is an error that
//! names it. `tests/isa.rs` holds each meaning against the processor, or an emulator of it.

pub mod arm;
pub mod arm64;
pub mod ppc64le;
pub mod riscv64;
pub mod s390x;
pub mod x86;

use crate::term::Term;
use anyhow::{Context, Result, bail, ensure};
use capstone::{Arch, Capstone, Endian, ExtraMode, Mode};

/// A processor.
pub struct Isa {
    pub decoder: (Arch, Mode, Option<ExtraMode>, Option<Endian>),
    /// Of an address.
    pub bits: u32,
    pub is_big_endian: bool,
    /// What an instruction's address is a multiple of, in bytes.
    pub step: u64,
    /// Whether access to memory wants addresses that are a multiple of what is accessed.
    pub aligned: bool,
    /// Of as many bits as an address; and those of few, which no instruction names. All else that the
    /// processor has is nothing to pause.
    pub registers: &'static [&'static str],
    pub flags: &'static [&'static str],
    pub flag_bits: u32,
    /// Other names: of which register, from which bit on, how many bits, and what becomes of those
    /// above when it is written.
    pub part: fn(&str) -> Option<Part>,
    pub meaning: fn(&mut Machine, &Instruction) -> Result<Flow>,
}

type Part = (&'static str, u32, u32, Above);

impl Isa {
    /// Whether the lowest bit of an address of code says that it is Thumb.
    pub fn is_thumb(&self) -> bool {
        matches!(self.decoder.1, Mode::Thumb)
    }

    /// All that a processor's state is, with the bits of each.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let registers = self.registers.iter().map(|it| (*it, self.bits));
        registers.chain(self.flags.iter().map(|it| (*it, self.flag_bits)))
    }
}

/// What becomes of the other bits of a register of which a part is written.
#[derive(Clone, Copy)]
pub enum Above {
    Stays,
    Zeros,
}

/// Where it goes on.
pub enum Flow {
    Next,
    Jump(Term),
    /// To the offset in the file, where the condition is true.
    Branch(Term, u64),
    /// Into the kernel.
    Kernel,
}

/// A decoded instruction.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Its offset in the file, and its length.
    pub at: u64,
    pub length: u64,
    pub name: String,
    pub operands: Vec<String>,
}

impl Instruction {
    pub fn text(&self) -> String {
        format!("{} {}", self.name, self.operands.join(", "))
            .trim_end()
            .to_owned()
    }

    /// That it is none of those that pause has.
    pub fn unknown<T>(&self) -> Result<T> {
        bail!("{:#x}: `{}` has no meaning here", self.at, self.text())
    }
}

/// # Panics
///
/// Where capstone was built without the processor.
pub fn decoder(isa: &Isa) -> Capstone {
    let (arch, mode, extra, endian) = isa.decoder;
    Capstone::new_raw(arch, mode, extra.into_iter(), endian).expect("capstone has it")
}

/// The instruction at that offset.
///
/// # Errors
///
/// Where there is none.
pub fn decode(decoder: &Capstone, file: &[u8], at: u64) -> Result<Instruction> {
    let none = || format!("{at:#x}: no instruction");
    let bytes = file.get(at as usize..).with_context(none)?;
    let found = decoder.disasm_count(&bytes[..bytes.len().min(16)], at, 1);
    let found = found.ok().with_context(none)?;
    let found = found.first().with_context(none)?;
    // Commas also separate within brackets.
    let (mut operands, mut depth) = (vec![String::new()], 0);
    for letter in found.op_str().unwrap_or_default().chars() {
        depth += i32::from(matches!(letter, '[' | '{')) - i32::from(matches!(letter, ']' | '}'));
        match letter {
            ',' if depth == 0 => operands.push(String::new()),
            ' ' if operands.last().is_some_and(String::is_empty) => {}
            _ => operands.last_mut().expect("there is one").push(letter),
        }
    }
    operands.retain(|it| !it.is_empty());
    Ok(Instruction {
        at,
        length: found.bytes().len() as u64,
        name: found.mnemonic().unwrap_or_default().to_owned(),
        operands,
    })
}

/// A number as an assembler writes it.
pub fn number(text: &str) -> Result<i64> {
    let digits = text.trim_start_matches('#');
    let (sign, digits) = digits.strip_prefix('-').map_or((1, digits), |it| (-1, it));
    let number = match digits.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    Ok(number.with_context(|| format!("`{text}` is no number"))? as i64 * sign)
}

/// The memory behind a processor, and what else differs between a proof and a trial.
pub trait Memory {
    /// # Errors
    ///
    /// Where the program has nothing to look for.
    fn load(&mut self, address: &Term, bytes: u32) -> Result<Term>;
    /// # Errors
    ///
    /// Where the program has nothing to change.
    fn store(&mut self, address: &Term, value: &Term) -> Result<()>;
    /// Where that byte of the file is in memory.
    fn address(&self, offset: u64) -> Term;
    /// A number that may be anything.
    fn any(&mut self, bits: u32) -> Term;
}

/// A processor at work.
pub struct Machine<'a> {
    pub isa: &'static Isa,
    pub registers: &'a mut [Term],
    pub memory: &'a mut dyn Memory,
}

impl Machine<'_> {
    fn find(&self, name: &str) -> Result<(usize, u32, u32, Above)> {
        let whole = |name| self.isa.state().position(|it| it.0 == name);
        let bits = |index: usize| self.registers[index].bits;
        if let Some(index) = whole(name) {
            return Ok((index, 0, bits(index), Above::Stays));
        }
        let part = (self.isa.part)(name)
            .and_then(|(of, low, bits, above)| Some((whole(of)?, low, bits, above)));
        part.with_context(|| format!("`{name}` is no register"))
    }

    /// # Errors
    ///
    /// Where there is no such register; so too the next.
    pub fn get(&self, name: &str) -> Result<Term> {
        let (index, low, bits, _) = self.find(name)?;
        Ok(self.registers[index].extract(low, bits))
    }

    pub fn set(&mut self, name: &str, value: &Term) -> Result<()> {
        let (index, low, bits, above) = self.find(name)?;
        ensure!(value.bits == bits, "{name} is not {} bits", value.bits);
        let register = &mut self.registers[index];
        *register = match above {
            Above::Stays => register.insert(low, value),
            Above::Zeros => value.zeros(register.bits),
        };
        Ok(())
    }

    /// A register, or a number of as many bits.
    pub fn value(&self, text: &str, bits: u32) -> Result<Term> {
        let value = self
            .get(text)
            .or_else(|_| Ok::<_, anyhow::Error>(Term::number(number(text)?, bits)))?;
        ensure!(value.bits == bits, "{text} is not {bits} bits");
        Ok(value)
    }

    /// A register and a number that is added.
    pub fn sum(&self, register: &str, offset: &str) -> Result<Term> {
        Ok(self.get(register)?.plus(number(offset)?))
    }

    /// An address as `8(r1)`.
    pub fn place(&self, text: &str) -> Result<Term> {
        let parts = text.strip_suffix(')').and_then(|it| it.split_once('('));
        let (offset, register) = parts.with_context(|| format!("`{text}` is no address"))?;
        self.sum(register, offset)
    }

    /// Sets the flags that Arm calls N, Z, C and V by a subtraction, whose result this is.
    fn compare(&mut self, a: &Term, b: &Term) -> Result<Term> {
        let result = a.sub(b);
        self.set("n", &result.sign())?;
        self.set("z", &result.is_number(0))?;
        self.set("c", &a.below(b).not())?;
        self.set("v", &a.xor(b).and(&a.xor(&result)).sign())?;
        Ok(result)
    }

    /// And by an addition.
    fn compare_negative(&mut self, a: &Term, b: &Term) -> Result<Term> {
        let result = a.add(b);
        self.set("n", &result.sign())?;
        self.set("z", &result.is_number(0))?;
        self.set("c", &result.below(a))?;
        self.set("v", &a.xor(&result).and(&b.xor(&result)).sign())?;
        Ok(result)
    }

    /// Whether they fit Arm's condition of that name.
    fn condition(&self, name: &str) -> Result<Option<Term>> {
        Ok(Some(match name {
            "eq" => self.get("z")?,
            "ne" => self.get("z")?.not(),
            "mi" => self.get("n")?,
            "gt" => self
                .get("z")?
                .not()
                .and(&self.get("n")?.is(&self.get("v")?)),
            _ => return Ok(None),
        }))
    }
}
