//! What the instructions of a processor mean: a table for each, in the notation of `meaning.rs`. The
//! decoder is capstone; an instruction is matched by its text. Only what pause has is there: anything else is an error that
//! names it. `tests/isa.rs` holds each meaning against the processor, or an emulator of it.

pub mod arm;
pub mod arm64;
mod meaning;
pub mod ppc64le;
pub mod riscv64;
pub mod s390x;
pub mod x86;

use crate::term::Term;
use anyhow::{Context, Result, bail, ensure};
use capstone::{Arch, Capstone, Endian, ExtraMode, Mode};
use meaning::{Expression, Table};
use std::{cell::RefCell, collections::HashMap, rc::Rc};

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
    /// What sp is where it leads to memory, in the notation: `aligned(sp)` must be a multiple of 16.
    pub base_stack: &'static str,
    /// Of as many bits as an address. All else that the processor has is nothing to pause.
    pub registers: &'static str,
    /// Names of the lower 32 bits of each, which have zeros put above them when written; and of the
    /// lowest byte, above which all stays.
    pub halves: &'static str,
    pub low_bytes: &'static str,
    /// Registers of few bits, which no instruction names.
    pub flags: &'static str,
    pub flag_bits: u32,
    /// Rows as `meaning.rs` says.
    pub meanings: &'static [&'static str],
}

impl Isa {
    /// What most have in common.
    const PLAIN: Self = Self {
        decoder: (Arch::X86, Mode::Mode64, None, None),
        bits: 64,
        is_big_endian: false,
        step: 1,
        aligned: false,
        base_stack: "sp",
        registers: "",
        halves: "",
        low_bytes: "",
        flags: "",
        flag_bits: 1,
        meanings: &[],
    };

    /// Whether the lowest bit of an address of code says that it is Thumb.
    pub fn is_thumb(&self) -> bool {
        matches!(self.decoder.1, Mode::Thumb)
    }

    /// All that a processor's state is, with the bits of each.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let registers = self.registers.split(' ').map(|it| (it, self.bits));
        let flags = self.flags.split_terminator(' ');
        registers.chain(flags.map(|it| (it, self.flag_bits)))
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.state().position(|it| it.0 == name)
    }

    /// Where a register is in the state, and how many bits of it have this name. Some are always 0,
    /// and nowhere.
    fn find(&self, name: &str) -> Option<(Option<usize>, u32)> {
        let among = |names: &str| names.split(' ').position(|it| it == name);
        Some(match name {
            "zero" | "xzr" => (None, 64),
            "wzr" => (None, 32),
            _ if let Some(index) = among(self.halves) => (Some(index), 32),
            _ if let Some(index) = among(self.low_bytes) => (Some(index), 8),
            _ => {
                let index = self.index(name)?;
                (Some(index), self.state().nth(index)?.1)
            }
        })
    }

    /// Where the bytes of a number are, from its lowest on.
    pub fn order(&self, bytes: usize) -> impl DoubleEndedIterator<Item = usize> {
        let is_big_endian = self.is_big_endian;
        (0..bytes).map(move |it| if is_big_endian { bytes - 1 - it } else { it })
    }

    /// The number that these bytes are.
    pub fn number(&self, bytes: &[u8]) -> u64 {
        let order = self.order(bytes.len()).rev();
        order.fold(0, |all, at| all << 8 | u64::from(bytes[at]))
    }

    /// And the other way.
    pub fn write(&self, number: u64, bytes: &mut [u8]) {
        for (at, byte) in self.order(bytes.len()).zip(number.to_le_bytes()) {
            bytes[at] = byte;
        }
    }
}

/// Where it goes on.
pub enum Flow {
    Next,
    Jump(Term),
    /// There, where the condition is true.
    Branch(Term, Term),
    /// Into the kernel.
    Kernel,
}

/// A decoded instruction.
#[derive(Debug)]
pub struct Instruction {
    /// Its offset in the file, and its length.
    pub at: u64,
    pub length: u64,
    pub name: String,
    pub operands: Vec<String>,
    meaning: Option<Vec<Expression>>,
}

impl Instruction {
    pub fn text(&self) -> String {
        let text = format!("{} {}", self.name, self.operands.join(", "));
        text.trim_end().to_owned()
    }

    /// That it is none of those that pause has.
    pub fn unknown<T>(&self) -> Result<T> {
        bail!("{:#x}: `{}` has no meaning here", self.at, self.text())
    }
}

pub struct Decoder {
    isa: &'static Isa,
    capstone: Capstone,
    table: Table,
    /// What it decoded, as flipped programs have most of their instructions in common.
    known: RefCell<Known>,
}

/// By address and bytes.
type Known = HashMap<(u64, Vec<u8>), Rc<Instruction>>;

impl Decoder {
    /// # Panics
    ///
    /// Where capstone was built without the processor.
    pub fn new(isa: &'static Isa) -> Self {
        let (arch, mode, extra, endian) = isa.decoder;
        let capstone = Capstone::new_raw(arch, mode, extra.into_iter(), endian);
        Self {
            isa,
            capstone: capstone.expect("capstone has it"),
            table: Table::read(isa),
            known: RefCell::default(),
        }
    }

    /// The instruction at that offset.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn decode(&self, file: &[u8], at: u64) -> Result<Rc<Instruction>> {
        let none = || format!("{at:#x}: no instruction");
        let bytes = file.get(at as usize..).with_context(none)?;
        let bytes = &bytes[..bytes.len().min(16)];
        let mut known = self.known.borrow_mut();
        if let Some(instruction) = known.get(&(at, bytes.to_vec())) {
            return Ok(instruction.clone());
        }
        let found = self.capstone.disasm_count(bytes, at, 1);
        let found = found.ok().with_context(none)?;
        let found = found.first().with_context(none)?;
        let name = found.mnemonic().unwrap_or_default().to_owned();
        let operands = operands(found.op_str().unwrap_or_default());
        let instruction = Rc::new(Instruction {
            at,
            length: found.bytes().len() as u64,
            meaning: self.table.find(self.isa, &name, &operands),
            name,
            operands,
        });
        known.insert((at, bytes.to_vec()), instruction.clone());
        Ok(instruction)
    }
}

/// What commas separate, but for those in brackets.
fn operands(text: &str) -> Vec<String> {
    let mut depth = 0;
    let is_between = |letter: char| {
        depth += i32::from("([{".contains(letter)) - i32::from(")]}".contains(letter));
        letter == ',' && depth == 0
    };
    let all = text.split(is_between).map(str::trim);
    all.filter(|it| !it.is_empty()).map(str::to_owned).collect()
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
    pub instruction: &'a Instruction,
    pub registers: &'a mut [Term],
    pub memory: &'a mut dyn Memory,
}

impl Machine<'_> {
    fn get(&self, name: &str) -> Result<Term> {
        match self.isa.find(name) {
            Some((Some(index), bits)) => Ok(self.registers[index].extract(0, bits)),
            Some((None, bits)) => Ok(Term::number(0, bits)),
            None => bail!("`{name}` is no register"),
        }
    }

    fn set(&mut self, name: &str, value: &Term) -> Result<()> {
        let is_whole = self.get(name)?.bits == value.bits;
        ensure!(is_whole, "{name} is not {} bits", value.bits);
        if let Some((Some(index), bits)) = self.isa.find(name) {
            let register = &mut self.registers[index];
            *register = match bits {
                32 => value.zeros(register.bits),
                _ => register.with_low(value),
            };
        }
        Ok(())
    }
}
