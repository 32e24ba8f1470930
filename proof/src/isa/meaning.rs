//! The notation of the tables of instructions, one instruction a row:
//!
//! ```text
//! sub D, X                 | D = D - X; cmp D, X
//! ```
//!
//! On the left stands the instruction as capstone writes it; instructions that mean the same share a
//! row, as `lhi/iilf`. Capitals stand for operands: N, M and K for a number, T for a place in the file,
//! P for a place in memory, L for a list of registers, A to D for a register, and X for a register, a
//! number or the contents of memory. A line without a bar is a remark.
//!
//! On the right stands what changes. All is read before a register is written. A statement without `=`
//! takes over the meaning of another row, with these operands; a row whose name is in capitals is there
//! for that alone. `goto` and `kernel` say where the processor goes on, `only` which operands have a
//! meaning at all.
//!
//! Operators are Rust's and bind as there; `<u` compares without signs. `A .. B` are the registers from A
//! to B, `{A, B}` are two. A number has as many bits as what it is combined with or assigned to.
//!
//! - `[a]` is memory, of as many bytes as are wanted; `byte(a)` is one byte, with zeros in front,
//!   and `four(a)` are four; `bytes(L)` is how many bytes the registers of a list take.
//! - `low(a)` is the lower 32 bits, `signs(a)` these with their sign in front, `zeros(a)` a value with zeros
//!   in front, `sign(a)` the topmost bit, `bit(n in a)` bit n.
//! - `any` is any number, `at` the instruction's address, `next` that of the next, `file` that of the
//!   file, and `words` the one that Thumb counts words from.

use super::{Flow, Machine, number, regex};
use crate::{platform::Platform, term::Term};
use anyhow::{Context, Result, bail, ensure};
use itertools::Itertools;
use regex::{Captures, Regex};
use std::sync::LazyLock;

/// The operators with their names in SMT-LIB, from those that bind least to those that bind most.
const OPERATORS: [Marks; 7] = [
    &[("==", "="), ("<", "bvslt"), ("<u", "bvult")],
    &[("|", "bvor")],
    &[("^", "bvxor")],
    &[("&", "bvand")],
    &[("<<", "bvshl"), (">>", "bvlshr")],
    &[("+", "bvadd"), ("-", "bvsub")],
    &[("*", "bvmul")],
];

/// The rows: the instructions that each is for, and what it says.
pub struct Table(Vec<(Regex, &'static str)>);

impl Table {
    pub fn read(platform: &Platform) -> Self {
        let names = [platform.registers, platform.halves, platform.low_bytes];
        let names = names.join(" ").split_whitespace().join("|");
        let register = format!("(?:{names}|zero|xzr|wzr)");
        let number = "-?(?:0x[[:xdigit:]]+|[0-9]+)";
        let part = format!("(?:{register}|{number})");
        let sum = format!(r"{part}(?: \+ {part})*");
        let lines = platform.meanings.iter().flat_map(|it| it.lines());
        let rows = lines.filter_map(|it| it.split_once(" | "));
        let row = |(left, right): (&str, _)| {
            let left = regex::escape(left.trim_end());
            let (names, of) = left.split_once(' ').unwrap_or((&left, ""));
            let is_shared = names.chars().all(|it| it.is_ascii_uppercase());
            let of = CAPITAL.replace_all(of, |it: &Captures| {
                let pattern = match &it[0] {
                    _ if is_shared => "[^,]+",
                    "N" | "M" | "K" | "T" => number,
                    "L" => r"\{.*\}",
                    "P" => &sum,
                    "X" => &format!(r"{part}|\[{sum}\]"),
                    _ => &register,
                };
                format!("(?<{}>{pattern})", &it[0])
            });
            let names = names.replace('/', "|");
            (regex(&format!("^(?:{names}) ?{of}$")), right)
        };
        Self(rows.map(row).collect())
    }

    /// What an instruction means, if a row says it: words with a space between each two.
    pub fn meaning(&self, text: &str) -> Option<String> {
        let found = self.find(text)?;
        Some(WORD.find_iter(&found).map(|it| it.as_str()).join(" "))
    }

    /// What a row says of an instruction, or of a statement that takes over a row.
    fn find(&self, text: &str) -> Option<String> {
        let given = |(pattern, row): &(Regex, _)| Some((pattern.captures(text)?, *row));
        let (given, row) = self.0.iter().find_map(given)?;
        let text = CAPITAL.replace_all(row, |it: &Captures| match (&it[0], &given[&it[0]]) {
            ("T", of) => format!("(file + {of})"),
            ("L" | "X", of) => of.to_owned(),
            (_, of) if of.contains(' ') => format!("({of})"),
            (_, of) => of.to_owned(),
        });
        let statements = text.split("; ");
        let mut all = statements.map(|it| self.find(it).unwrap_or_else(|| it.to_owned()));
        Some(all.join("; "))
    }
}

static CAPITAL: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[A-Z]\b"));
static WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"[\[\](){},;!]|[^\[\](){},;!\s]+"));

type Words<'a, 'b> = &'b [&'a str];
type Parts<'a, 'b> = (Words<'a, 'b>, &'static str, Words<'a, 'b>);
/// Words, with what they mean.
type Marks = &'static [(&'static str, &'static str)];

/// The words before and after the last of the marks that is in no brackets, and what that mark means.
fn split<'a, 'b>(words: Words<'a, 'b>, marks: Marks) -> Option<Parts<'a, 'b>> {
    let mut depth = 0;
    words.iter().enumerate().rev().find_map(|(at, word)| {
        depth += i32::from([")", "]", "}"].contains(word));
        depth -= i32::from(["(", "[", "{"].contains(word));
        let mark = marks.iter().find(|it| it.0 == *word && depth == 0);
        mark.map(|it| (&words[..at], it.1, &words[at + 1..]))
    })
}

impl<'a> Machine<'a> {
    /// Does what the instruction means.
    pub fn run(&mut self) -> Result<Flow> {
        let (mut sets, mut flow) = (Vec::new(), Flow::Next);
        let instruction = self.instruction;
        let Some(meaning) = &instruction.meaning else {
            return instruction.unknown();
        };
        for statement in meaning.split(';') {
            let words: Vec<_> = statement.split_whitespace().collect();
            match &*words {
                ["kernel"] => flow = Flow::Kernel,
                ["goto", to @ ..] => {
                    let (to, _, of) = split(to, &[("if", "")]).unwrap_or((to, "", &["1"]));
                    flow = Flow::Branch(self.value(of, 1)?, self.word(to)?);
                }
                ["only", of @ ..] if self.value(of, 1)?.known() == Some(1) => {}
                of => match split(of, &[("=", "")]) {
                    Some((to, _, from)) => sets.extend(self.assign(to, from)?),
                    None => return instruction.unknown(),
                },
            }
        }
        let is_once = sets.iter().map(|it| it.0).all_unique();
        ensure!(is_once, "`{}` sets a register twice", instruction.text);
        for (name, value) in sets {
            match name {
                // The lowest bit says that the code there is Thumb.
                "pc" => flow = Flow::Branch(Term::truth(true), value.plus(-1)),
                _ => self.set(name, &value)?,
            }
        }
        Ok(flow)
    }

    /// Writes to memory, or tells what registers become.
    fn assign(&mut self, to: Words<'a, '_>, from: Words<'a, '_>) -> Result<Vec<(&'a str, Term)>> {
        let mut sets = Vec::new();
        match (to, from) {
            ([name], _) => sets.push((*name, self.value(from, self.get(name)?.bits)?)),
            (["low", "(", name, ")"], _) => {
                let (whole, low) = (self.get(name)?, self.value(from, 32)?);
                sets.push((name, whole.with_low(&low)));
            }
            (["[", address @ .., "]"], _) => {
                let mut address = self.word(address)?;
                let values = match self.list(from) {
                    Some(names) => names.iter().map(|it| self.get(it)).collect::<Result<_>>()?,
                    None => vec![self.word(from)?],
                };
                for value in values {
                    self.memory.store(&address, &value)?;
                    address = address.plus((value.bits / 8).into());
                }
            }
            (_, ["[", address @ .., "]"]) => {
                let (mut address, bytes) = (self.word(address)?, self.platform.bytes());
                for name in self.list(to).unwrap_or_default() {
                    sets.push((name, self.memory.load(&address, bytes as u32)?));
                    address = address.plus(bytes);
                }
            }
            _ => bail!("{to:?} cannot be set"),
        }
        Ok(sets)
    }

    /// The registers of a list.
    fn list(&self, of: Words<'a, '_>) -> Option<Vec<&'a str>> {
        match of {
            ["{", names @ .., "}"] => Some(names.iter().copied().step_by(2).collect()),
            // The list may go around from the last register to the first.
            [from, "..", to] => {
                let all = self.platform.registers.split(' ').cycle();
                let from = all.skip_while(|it| it != from);
                Some(from.take_while_inclusive(|it| it != to).collect())
            }
            _ => None,
        }
    }

    fn word(&mut self, of: Words<'a, '_>) -> Result<Term> {
        self.value(of, self.platform.bits())
    }

    /// The value of an expression of which so many bits are wanted.
    fn value(&mut self, of: Words<'a, '_>, bits: u32) -> Result<Term> {
        for level in OPERATORS {
            if let Some((a, name, b)) = split(of, level) {
                // What is compared has its own length, or an address's.
                let is_condition = ["=", "bvult", "bvslt"].contains(&name);
                let wanted = if is_condition {
                    self.platform.bits()
                } else {
                    bits
                };
                let a = self.value(a, wanted)?;
                let b = self.value(b, a.bits)?;
                ensure!(a.bits == b.bits, "{name} of {a} and {b}");
                return Ok(a.apply(name, &b));
            }
        }
        let (at, length) = (self.instruction.at, self.instruction.length);
        Ok(match of {
            ["any"] => self.memory.any(bits),
            ["file"] => self.file.clone(),
            ["at"] => self.file.plus(at),
            ["next"] => self.file.plus(at + length),
            ["words"] => self.file.plus((at + 4) & !3),
            [word] => match number(word) {
                Ok(number) => Term::number(number, bits),
                Err(_) => self.get(word)?,
            },
            ["!", of @ ..] => self.value(of, bits)?.not(),
            ["(", of @ .., ")"] => self.value(of, bits)?,
            ["[", address @ .., "]"] => {
                let address = self.word(address)?;
                self.memory.load(&address, bits / 8)?
            }
            [name, "(", of @ .., ")"] => match *name {
                "byte" | "four" => {
                    let (address, bytes) = (self.word(of)?, if *name == "byte" { 1 } else { 4 });
                    self.memory.load(&address, bytes)?.zeros(bits)
                }
                "bit" => {
                    let (index, _, of) = split(of, &[("in", "")]).context("which bit?")?;
                    let (of, index) = (self.word(of)?, self.value(index, 32)?.known());
                    let index = index.filter(|it| *it < of.bits.into());
                    let index = index.map_or_else(|| self.instruction.unknown(), Ok)?;
                    of.extract(index as u32, 1)
                }
                "bytes" => {
                    let count = self.list(of).unwrap_or_default().len() as i64;
                    Term::number(count * self.platform.bytes(), bits)
                }
                "low" => self.word(of)?.extract(0, 32),
                "signs" => self.value(of, 32)?.extract(0, 32).signs(bits),
                "zeros" => self.word(of)?.zeros(bits),
                "sign" => self.word(of)?.sign(),
                _ => bail!("{name} is no function"),
            },
            _ => bail!("{of:?} is no value"),
        })
    }
}
