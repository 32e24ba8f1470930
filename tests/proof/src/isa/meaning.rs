//! The notation in which each processor's table says what its instructions mean, one on a row:
//!
//! ```text
//! sub D, X                 | D = D - X; cmp D, X
//! ```
//!
//! The left has the instruction as the decoder writes it; names that mean the same share a row, as
//! `lhi/iilf`. A capital stands for an operand: N, M and K for numbers, T for a place in the file, P
//! for a place in memory, L for a list of registers, X for a register, a number or what is at a place
//! in memory, and A to D for registers. Lines without a bar are remarks.
//!
//! The right has what becomes of what. Everything is read before a register is written. Where there
//! is no `=`, the meaning of another row above is taken over, with these operands; rows with a name in
//! capitals are there for that alone. `goto` and `kernel` say where it goes on, and `only` which
//! operands have a meaning here.
//!
//! Operators are Rust's and bind as there; `<u` has no sign. `A .. B` are the registers from A to B,
//! and `{A, B}` two. A number has as many bits as what it is combined with or becomes.
//!
//! - `mem(a)` is as many bytes of memory as are wanted there, or as become it; `byte(a)` one, with
//!   zeros in front; `bytes(L)` how many bytes the registers of a list have.
//! - `low(a)` is the lower 32 bits, `signs(a)` these with their sign in front, `zeros(a)` all with zeros
//!   in front, `sign(a)` the topmost bit, `bit(a, n)` that one, `choose(c, a, b)` a where c is true.
//! - `any` is open. `at` is the instruction's address, `next` the next one's, `file` the file's, `words`
//!   that which Thumb counts words from, and `base` the register in P. `aligned(a)` is an error unless
//!   it is a multiple of 16.

use super::{Flow, Isa, Machine, number, operands};
use crate::term::Term;
use anyhow::{Result, bail, ensure};
use itertools::Itertools;
use std::{collections::HashMap, iter::Peekable, vec::IntoIter};

/// From what binds least to what binds most, with SMT-LIB's names.
const OPERATORS: [&[(&str, &str)]; 10] = [
    &[("if", "if")],
    &[("=", "set")],
    &[("==", "="), ("<", "bvslt"), ("<u", "bvult")],
    &[("|", "bvor")],
    &[("^", "bvxor")],
    &[("&", "bvand")],
    &[("<<", "bvshl"), (">>", "bvlshr")],
    &[("+", "bvadd"), ("-", "bvsub")],
    &[("*", "bvmul")],
    &[("..", "..")],
];

#[derive(Debug)]
pub enum Expression {
    Number(i64),
    Name(String),
    Apply(String, Vec<Expression>),
    Both(&'static str, Box<[Expression; 2]>),
}
use Expression::{Apply, Both, Name, Number};

/// By the names of instructions: operands, and what becomes of them.
pub struct Table(HashMap<String, Vec<(Vec<String>, String)>>);

impl Table {
    pub fn read(isa: &Isa) -> Self {
        let mut table = Self(HashMap::new());
        let lines = isa.meanings.iter().flat_map(|it| it.lines());
        for (left, right) in lines.filter_map(|it| it.split_once(" | ")) {
            let (names, of) = left.split_once(' ').unwrap_or((left, ""));
            let text = right.split("; ").map(|it| table.expand(it)).join("; ");
            for name in names.split('/') {
                let rows = table.0.entry(name.to_owned()).or_default();
                rows.push((operands(of), text.clone()));
            }
        }
        table
    }

    /// A statement, or what the row that it names has for these operands.
    fn expand(&self, statement: &str) -> String {
        let (name, of) = statement.split_once(' ').unwrap_or((statement, ""));
        let of = operands(of);
        let mut rows = self.0.get(name).into_iter().flatten();
        match rows.find(|it| it.0.len() == of.len()) {
            Some((names, text)) => replace(text, &names.iter().cloned().zip(of).collect()),
            None => statement.to_owned(),
        }
    }

    /// What an instruction means, if a row says so.
    ///
    /// # Panics
    ///
    /// Where the row is not in the notation.
    pub fn find(&self, isa: &Isa, name: &str, operands: &[String]) -> Option<Vec<Expression>> {
        let rows = self.0.get(name)?.iter();
        let mut rows = rows.filter(|it| it.0.len() == operands.len());
        let text = rows.find_map(|(names, text)| {
            let pairs = names.iter().zip(operands);
            let given = pairs.map(|(name, text)| operand(isa, name, text));
            let given: Vec<_> = given.collect::<Option<_>>()?;
            Some(replace(text, &given.into_iter().flatten().collect()))
        })?;
        let parse = |text| {
            let mut words = words(text).into_iter().peekable();
            let statement = expression(&mut words, 0);
            assert_eq!(words.next(), None, "{text}");
            statement
        };
        Some(text.split(';').map(parse).collect())
    }
}

fn replace(text: &str, given: &HashMap<String, String>) -> String {
    let replaced = |word| given.get(&word).map_or(word, |it| format!("({it})"));
    words(text).into_iter().map(replaced).join(" ")
}

/// What capitals stand for, in the notation, if the text is such an operand.
fn operand(isa: &Isa, name: &str, text: &str) -> Option<Vec<(String, String)>> {
    let Some(at) = name.find(|it: char| it.is_ascii_uppercase()) else {
        return (name == text).then(Vec::new);
    };
    let (before, name, behind) = (&name[..at], &name[at..=at], &name[at + 1..]);
    let text = text.strip_prefix(before)?.strip_suffix(behind)?;
    let is = |text: &str| number(text).is_ok() || isa.find(text).is_some();
    let place = sum(text).filter(|it| it.split(" + ").all(is));
    let pair = |text: &str| (name.to_owned(), text.to_owned());
    Some(match (name, place) {
        ("N" | "M" | "K", _) if number(text).is_ok() => vec![pair(text)],
        ("T", _) if number(text).is_ok() => vec![pair(&format!("file + {text}"))],
        ("L", _) if text.starts_with('{') => vec![pair(text)],
        ("X", Some(place)) => vec![pair(&format!("mem({place})"))],
        ("X", None) if is(text) => vec![pair(text)],
        ("P", Some(place)) => {
            let base = place.split(" + ").find(|it| isa.find(it).is_some());
            let base = ("base".to_owned(), base.unwrap_or_default().to_owned());
            vec![base, pair(&place.replace("sp", isa.base_stack))]
        }
        ("A" | "B" | "C" | "D", _) if isa.find(text).is_some() => vec![pair(text)],
        _ => return None,
    })
}

/// The address of `8(r1)`, `[r0, #4]` or `dword ptr [eax + 4]`, in the notation.
fn sum(place: &str) -> Option<String> {
    let place = place
        .trim_start_matches("dword ptr ")
        .trim_start_matches("qword ptr ");
    Some(match place.strip_suffix(')') {
        Some(inner) => inner.replace('(', " + "),
        None => {
            let inner = place.strip_suffix(']')?.trim_start_matches('[');
            inner.replace("- ", "+ -").replace(", ", " + ")
        }
    })
}

fn words(text: &str) -> Vec<String> {
    let mut apart = text.to_owned();
    for mark in ["(", ")", "{", "}", ",", ";", "!"] {
        apart = apart.replace(mark, &format!(" {mark} "));
    }
    apart.split_whitespace().map(str::to_owned).collect()
}

type Words = Peekable<IntoIter<String>>;
type Sets = Vec<(String, Term)>;

fn expression(words: &mut Words, level: usize) -> Expression {
    let Some(operators) = OPERATORS.get(level) else {
        return primary(words);
    };
    let mut left = expression(words, level + 1);
    let operator = |word: &String| operators.iter().find(|it| it.0 == word);
    while let Some((_, name)) = words.peek().and_then(operator) {
        words.next();
        left = Both(name, Box::new([left, expression(words, level + 1)]));
    }
    left
}

fn primary(words: &mut Words) -> Expression {
    let word = words.next().expect("there is an operand");
    match &*word {
        "!" => Apply(word, vec![primary(words)]),
        "goto" | "only" => Apply(word, vec![expression(words, 1)]),
        "(" => list(words).remove(0),
        "{" => Apply(word, list(words)),
        _ if words.next_if_eq("(").is_some() => Apply(word, list(words)),
        _ => number(&word).map_or(Name(word), Number),
    }
}

/// Up to the bracket that closes it.
fn list(words: &mut Words) -> Vec<Expression> {
    let mut all = vec![expression(words, 0)];
    while words.next().is_some_and(|it| it == ",") {
        all.push(expression(words, 0));
    }
    all
}

fn register(of: &Expression) -> String {
    match of {
        Name(name) => name.clone(),
        other => panic!("{other:?} is no register"),
    }
}

impl Machine<'_> {
    /// Has the processor do what the instruction means.
    ///
    /// # Errors
    ///
    /// Where that is not said, or memory does not have it.
    pub fn run(&mut self) -> Result<Flow> {
        let (mut sets, mut flow) = (Vec::new(), Flow::Next);
        let instruction = self.instruction;
        let Some(meaning) = &instruction.meaning else {
            return instruction.unknown();
        };
        for statement in meaning {
            match statement {
                Name(_) => flow = Flow::Kernel,
                Both("set", of) => self.assign(&of[0], &of[1], &mut sets)?,
                Both("if", of) => {
                    flow = Flow::Branch(self.value(&of[1], 1)?, self.word(&of[0])?);
                }
                Apply(name, _) if name == "goto" => flow = Flow::Jump(self.word(statement)?),
                Apply(_, of) if self.value(&of[0], 1)?.known() == Some(1) => {}
                _ => return instruction.unknown(),
            }
        }
        for (name, value) in sets {
            match &*name {
                // Its lowest bit says that Thumb goes on.
                "pc" => flow = Flow::Jump(value.plus(-1)),
                _ => self.set(&name, &value)?,
            }
        }
        Ok(flow)
    }

    fn assign(&mut self, to: &Expression, from: &Expression, sets: &mut Sets) -> Result<()> {
        let word = self.isa.bits;
        match (to, from) {
            (Name(name), _) => {
                let value = self.value(from, self.get(name)?.bits)?;
                sets.push((name.clone(), value));
            }
            (Apply(name, of), _) if name == "low" => {
                let (whole, low) = (self.word(&of[0])?, self.value(from, 32)?);
                sets.push((register(&of[0]), whole.with_low(&low)));
            }
            (Apply(name, of), _) if name == "mem" => {
                let mut address = self.word(&of[0])?;
                let values = match self.list(from) {
                    Some(names) => names.iter().map(|it| self.get(it)).collect::<Result<_>>()?,
                    None => vec![self.word(from)?],
                };
                for value in values {
                    self.memory.store(&address, &value)?;
                    address = address.plus((value.bits / 8).into());
                }
            }
            (_, Apply(_, of)) => {
                let address = self.word(&of[0])?;
                for (name, at) in self.list(to).unwrap_or_default().into_iter().zip(0..) {
                    let address = address.plus(at * i64::from(word / 8));
                    sets.push((name, self.memory.load(&address, word / 8)?));
                }
            }
            _ => bail!("{to:?} cannot be set"),
        }
        Ok(())
    }

    /// The registers of a list.
    fn list(&self, of: &Expression) -> Option<Vec<String>> {
        match of {
            Apply(name, of) if name == "{" => Some(of.iter().map(register).collect()),
            // The first comes behind the last.
            Both("..", of) => {
                let (from, to) = (register(&of[0]), register(&of[1]));
                let all = self.isa.registers.split(' ').cycle();
                let from = all.skip_while(|it| *it != from);
                let list = from.take_while_inclusive(|it| *it != to);
                Some(list.map(str::to_owned).collect())
            }
            _ => None,
        }
    }

    fn word(&mut self, of: &Expression) -> Result<Term> {
        self.value(of, self.isa.bits)
    }

    /// The value, where that many bits are wanted.
    fn value(&mut self, of: &Expression, bits: u32) -> Result<Term> {
        let (at, length) = (self.instruction.at, self.instruction.length);
        let (name, of) = match of {
            Number(number) => return Ok(Term::number(*number, bits)),
            Name(name) => (&**name, &[][..]),
            Apply(name, of) => (&**name, &**of),
            Both(name, of) => {
                // Of those that compare, the numbers are as long as an address, or have their own bits.
                let is_condition = ["=", "bvult", "bvslt"].contains(name);
                let a = self.value(&of[0], if is_condition { self.isa.bits } else { bits })?;
                let b = self.value(&of[1], a.bits)?;
                ensure!(a.bits == b.bits, "{name} of {a} and {b}");
                return Ok(a.apply(name, &b));
            }
        };
        Ok(match (name, of) {
            ("any", []) => self.memory.any(bits),
            ("file", []) => self.memory.address(0),
            ("at", []) => self.memory.address(at),
            ("next", []) => self.memory.address(at + length),
            ("words", []) => self.memory.address((at + 4) & !3),
            (_, []) => self.get(name)?,
            ("mem" | "byte", [address]) => {
                let address = self.word(address)?;
                let bytes = if name == "mem" { bits / 8 } else { 1 };
                self.memory.load(&address, bytes)?.zeros(bits)
            }
            ("bytes", [list]) => {
                let count = self.list(list).unwrap_or_default().len() as i64;
                Term::number(count * i64::from(self.isa.bits / 8), bits)
            }
            ("goto", [to]) => self.word(to)?,
            ("low", [of]) => self.word(of)?.extract(0, 32),
            ("signs", [of]) => self.value(of, 32)?.extract(0, 32).signs(bits),
            ("zeros", [of]) => self.word(of)?.zeros(bits),
            ("sign", [of]) => self.word(of)?.sign(),
            ("aligned", [of]) => {
                let of = self.word(of)?;
                let is_aligned = of.place().is_none_or(|it| it.1 % 16 == 0);
                ensure!(is_aligned, "the stack is not aligned: {of}");
                of
            }
            ("!", [of]) => self.value(of, bits)?.not(),
            ("choose", [condition, yes, no]) => {
                let (yes, no) = (self.value(yes, bits)?, self.value(no, bits)?);
                self.value(condition, 1)?.choose(&yes, &no)
            }
            ("bit", [of, index]) => {
                let (of, index) = (self.word(of)?, self.value(index, 32)?.known());
                let index = index.filter(|it| *it < of.bits.into());
                of.bit(index.map_or_else(|| self.instruction.unknown(), Ok)? as u32)
            }
            _ => bail!("{name} is no function"),
        })
    }
}
