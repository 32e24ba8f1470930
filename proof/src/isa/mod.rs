//! What the instructions of a processor mean: a table for each, in the notation of `meaning.rs`. capstone
//! decodes, or loong64's own file, and an instruction is looked up by its text. Only those that pause has are
//! there: any other is an error that names it. `tests/isa.rs` checks each meaning against an emulator of the
//! processor.

pub mod arm;
pub mod arm64;
mod assembler;
pub mod loongarch64;
mod meaning;
pub mod ppc64le;
pub mod riscv64;
pub mod s390x;
pub mod x86;

use crate::{platform::Platform, term::Term};
use anyhow::{Context, Result, bail, ensure};
use capstone::Capstone;
use meaning::Table;
use regex::{Captures, Regex};
use std::{
    collections::{BTreeMap, HashMap},
    iter::zip,
    sync::{Arc, LazyLock},
};

/// Where the processor goes on.
pub enum Flow {
    Next,
    /// At the address, if the condition is true.
    Branch(Term, Term),
    /// In the kernel.
    Kernel,
}

/// A decoded instruction.
pub struct Instruction {
    /// Its offset in the file, and its length.
    pub at: i64,
    pub length: i64,
    pub bytes: Vec<u8>,
    /// As capstone or LLVM writes it.
    pub text: String,
    meaning: Option<String>,
}

impl Instruction {
    /// The error for an instruction that the table lacks.
    pub fn unknown<T>(&self) -> Result<T> {
        bail!("{:#x}: `{}` has no meaning here", self.at, self.text)
    }
}

pub struct Decoder {
    platform: &'static Platform,
    /// None where it does not know the processor.
    capstone: Option<Capstone>,
    table: Table,
    /// What was decoded before: flipped programs have most of their instructions in common.
    known: HashMap<(i64, Vec<u8>), Arc<Instruction>>,
    /// Whether an assembler writes an instruction so.
    written: HashMap<Vec<u8>, bool>,
}

impl Decoder {
    pub fn new(platform: &'static Platform) -> Self {
        let words: Vec<&str> = platform.decoder.split_terminator(' ').collect();
        let capstone = words.first().map(|arch| {
            let arch = arch.parse().expect("it is an architecture");
            let mode = words[1].parse().expect("it is a mode");
            let extra = words.iter().filter_map(|it| it.parse().ok());
            let order = words.iter().find_map(|it| it.parse().ok());
            Capstone::new_raw(arch, mode, extra, order).expect("capstone has it")
        });
        Self {
            capstone,
            table: Table::read(platform),
            platform,
            known: HashMap::new(),
            written: HashMap::new(),
        }
    }

    /// The instruction at that offset, if it has a meaning in this encoding.
    pub fn decode(&mut self, file: &[u8], at: i64) -> Result<Arc<Instruction>> {
        self.learn([(file, at)])?;
        let it = self.read(file, at)?;
        let is_written = self.written.get(&it.bytes) != Some(&false);
        let (text, bytes) = (&it.text, hex::encode(&it.bytes));
        let otherwise = "an assembler does not write";
        ensure!(is_written, "{otherwise} `{text}` as {bytes}");
        Ok(it)
    }

    /// Finds out at once how the instructions at all these places are written.
    pub fn learn<'f>(&mut self, places: impl IntoIterator<Item = (&'f [u8], i64)>) -> Result<()> {
        let mut new = BTreeMap::new();
        for (file, at) in places {
            if let Ok(it) = self.read(file, at)
                && it.meaning.is_some()
                && !self.written.contains_key(&it.bytes)
            {
                new.insert(it.bytes.clone(), it);
            }
        }
        if !new.is_empty() {
            let these: Vec<_> = new.values().map(|it| &**it).collect();
            let written = assembler::assemble(self.platform, &these)?;
            self.written.extend(zip(new.into_keys(), written));
        }
        Ok(())
    }

    /// What the bytes at that offset say, even if no assembler writes them so.
    pub fn read(&mut self, file: &[u8], at: i64) -> Result<Arc<Instruction>> {
        let none = "there is no instruction";
        ensure!(at % self.platform.step == 0, none);
        let bytes = file.get(at as usize..).context(none)?;
        let bytes = &bytes[..bytes.len().min(16)];
        if let Some(instruction) = self.known.get(&(at, bytes.to_vec())) {
            return Ok(instruction.clone());
        }
        let (length, text) = match self.platform.decode {
            Some(decode) => {
                let word = bytes.first_chunk().context(none)?;
                let text = decode(self.platform, u32::from_le_bytes(*word));
                (word.len(), text.context(none)?)
            }
            None => {
                let capstone = self.capstone.as_ref().expect("one of both decodes");
                let found = capstone.disasm_count(bytes, at as u64, 1);
                let found = found.ok().context(none)?;
                let found = found.first().context(none)?;
                let (name, of) = (found.mnemonic(), found.op_str());
                let text = format!("{} {}", name.unwrap_or_default(), of.unwrap_or_default());
                (found.bytes().len(), text)
            }
        };
        let instruction = Arc::new(Instruction {
            at,
            length: length as i64,
            bytes: bytes[..length].to_vec(),
            meaning: self.table.meaning(&plain(text.trim_end())),
            text: text.trim_end().to_owned(),
        });
        self.known.insert((at, bytes.to_vec()), instruction.clone());
        Ok(instruction)
    }
}

/// An instruction as the notation writes it: without marks of numbers and sizes, and with places as
/// `[8 + r1]`.
fn plain(text: &str) -> String {
    let text = MARK.replace_all(text, "");
    let text = BASED.replace_all(&text, "[$1 + $2]");
    let sum = |it: &Captures| it[0].replace("- ", "+ -").replace(", ", " + ");
    PLACE.replace_all(&text, sum).into_owned()
}

static MARK: LazyLock<Regex> = LazyLock::new(|| regex(r"#|\$|[dq]word ptr "));
/// `8(r1)`, and `[r0, 4]` or `[eax - 4]`.
static BASED: LazyLock<Regex> = LazyLock::new(|| regex(r"(-?\w+)\((\S+)\)"));
static PLACE: LazyLock<Regex> = LazyLock::new(|| regex(r"\[.*\]"));

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("it is one")
}

/// A number as an assembler writes it.
pub fn number(text: &str) -> Result<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |it| (-1, it));
    let number = match digits.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    Ok(number.with_context(|| format!("`{text}` is no number"))? as i64 * sign)
}

/// What differs between a proof and a trial: the memory, and numbers that are left open.
pub trait Memory {
    /// Reads; an error if the program has no business there.
    fn load(&mut self, address: &Term, bytes: u32) -> Result<Term>;
    /// Writes; an error if the program has no business there.
    fn store(&mut self, address: &Term, value: &Term) -> Result<()>;
    /// A number that may be any.
    fn any(&mut self, bits: u32) -> Term;
}

/// What each register and flag holds.
pub type Registers = BTreeMap<&'static str, Term>;

/// A processor at work.
pub struct Machine<'a> {
    pub platform: &'static Platform,
    pub instruction: &'a Instruction,
    pub registers: Registers,
    pub memory: &'a mut dyn Memory,
    /// The file's address.
    pub file: Term,
}

impl Machine<'_> {
    fn get(&self, name: &str) -> Result<Term> {
        match self.platform.find(name) {
            Some((Some(whole), bits)) => Ok(self.registers[whole].extract(0, bits)),
            Some((None, bits)) => Ok(Term::number(0, bits)),
            None => bail!("`{name}` is no register"),
        }
    }

    fn set(&mut self, name: &str, value: &Term) -> Result<()> {
        let is_whole = self.get(name)?.bits == value.bits;
        ensure!(is_whole, "{name} is not {} bits", value.bits);
        if let Some((Some(whole), bits)) = self.platform.find(name) {
            let value = match bits {
                32 => value.zeros(self.platform.bits()),
                _ => self.registers[whole].with_low(value),
            };
            self.registers.insert(whole, value);
        }
        Ok(())
    }
}
