//! All paths of a program, each for all inputs that lead there. A loop is gone around until it is at
//! the same step of the contract again; what differs then is taken to be any number, and from there it
//! has to come back to the same.

use crate::{
    Prover, Report,
    contract::{self, Phase},
    elf,
    isa::{Flow, Machine, Memory, Registers},
    platform::Platform,
    solver::Input,
    term::Term,
};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use itertools::Itertools;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    rc::Rc,
    slice,
};

/// Instructions of a path, and paths: more is a program that makes no step.
const LONGEST: usize = 300;
const MOST: usize = 400;
/// The room below the stack that a program starts with.
const ROOM: i64 = 4096;

/// A way through the program, up to an instruction.
#[derive(Clone)]
pub struct Path {
    platform: &'static Platform,
    at: i64,
    pub registers: Registers,
    /// The bytes that it wrote, by their distance from the stack pointer at its start.
    stack: Rc<BTreeMap<i64, Term>>,
    /// What is true of an input that leads here.
    given: Vec<Term>,
    pub phase: Phase,
    /// Of the last system call.
    pub answer: Term,
    /// The first argument that it has not decided on: the place of the pointer, and the name.
    arguments: Term,
    argument: &'static str,
    /// Where what it may write ends, as a distance from the stack pointer at its start.
    end: i64,
    /// What it did, in words, and how many system calls were among it.
    story: Rc<Vec<String>>,
    calls: usize,
    anys: usize,
    length: usize,
    /// How it was where it came by, last.
    visits: Rc<HashMap<i64, Rc<Path>>>,
    /// Of such a visit that stands for all times: the registers that may be any number.
    open: Option<BTreeSet<&'static str>>,
}

/// A program, and what is found of it.
pub struct Proof<'a> {
    pub prover: &'a mut Prover,
    bytes: &'a [u8],
    /// The visits that stand for all times.
    heads: Vec<Rc<Path>>,
    /// The signals that it takes, with their lines, each with the place of its handler.
    pub handlers: BTreeSet<((i64, &'static str), i64)>,
    /// An input that shows what is wrong.
    against: Option<Input>,
    pub found: Report,
}

impl Path {
    pub fn tell(&mut self, what: &str) {
        let told = format!("{:#x} {what}", self.at);
        Rc::make_mut(&mut self.story).push(told);
    }

    /// Writes to the stack.
    fn put(&mut self, at: i64, value: &Term) {
        let stack = Rc::make_mut(&mut self.stack);
        stack.extend((at..).zip(self.platform.split(value)));
    }

    fn any(&mut self, bits: u32) -> Term {
        self.anys += 1;
        Term::symbol(format!("any{}.{bits}", self.anys), bits)
    }

    /// The pointer to an argument, counted from the first that it has not decided on.
    pub fn argument(&self, index: i64) -> Term {
        Term::symbol(format!("{}{index}", self.argument), self.arguments.bits)
    }

    fn letter(pointer: &str, index: i64) -> Term {
        Term::symbol(format!("{pointer}.byte{index}"), 8)
    }

    /// Whether the first of them is `-v` or `-V`.
    pub fn is_flag(&self) -> Term {
        let name = format!("{}0", self.argument);
        let is = |index, letter: u8| Self::letter(&name, index).is_number(letter.into());
        Term::all([is(0, b'-'), is(1, b'v').or(&is(1, b'V')), is(2, 0)])
    }

    /// Whether all that the other has on the stack is the same here.
    fn has_stack_of(&self, other: &Self) -> bool {
        let mut stack = other.stack.iter();
        stack.all(|(at, byte)| self.stack.get(at) == Some(byte))
    }

    /// How it is here, for when it comes again.
    fn remember(&mut self, open: Option<BTreeSet<&'static str>>) -> Rc<Self> {
        let here = Rc::new(Self {
            visits: Rc::default(),
            open,
            ..self.clone()
        });
        Rc::make_mut(&mut self.visits).insert(self.at, here.clone());
        here
    }
}

impl Prover {
    /// Proves the contract of a file. An error is what it does against it, with the way there and an
    /// input that leads there; or what is not known.
    pub fn prove(&mut self, bytes: &[u8]) -> Result<Report> {
        let before = self.solver.questions;
        let entry = elf::entry(self.platform, bytes)?;
        let mut proof = Proof {
            prover: self,
            bytes,
            heads: Vec::new(),
            handlers: BTreeSet::new(),
            against: None,
            found: Report::default(),
        };
        proof.explore(entry, Phase::Started)?;
        for ((signal, line), handler) in proof.handlers.clone() {
            proof.explore(handler, Phase::Signalled(signal, line))?;
        }
        let mut found = proof.found;
        for ((_, before), (at, _)) in found.instructions.iter().tuple_windows() {
            let is_behind = *at >= before.at + before.length;
            let otherwise = "it jumps into the middle of an instruction";
            ensure!(is_behind, "{at:#x}: {otherwise}");
        }
        found.questions = self.solver.questions - before;
        Ok(found)
    }
}

impl Proof<'_> {
    fn explore(&mut self, entry: i64, phase: Phase) -> Result<()> {
        let platform = self.prover.platform;
        let stack = Term::symbol("stack", platform.bits);
        let any = |(name, bits): (&'static str, _)| {
            (name, Term::symbol(name.trim_start_matches('%'), bits))
        };
        let mut path = Path {
            platform,
            at: entry,
            registers: platform.state().map(any).collect(),
            stack: Rc::default(),
            given: Vec::new(),
            arguments: stack.plus(2 * platform.bytes()),
            argument: "argument",
            end: match phase {
                Phase::Signalled(..) => platform.save_area,
                _ if platform.takes_slots => 2 * platform.bytes(),
                _ => 0,
            },
            story: Rc::default(),
            calls: 0,
            anys: 0,
            length: 0,
            visits: Rc::default(),
            open: None,
            phase,
            answer: Term::number(0, platform.bits),
        };
        path.registers.insert(platform.stack(), stack);
        if let Some(register) = platform.entry {
            let entry = Term::symbol("file", platform.bits).plus(entry);
            path.registers.insert(register, entry);
        }
        if platform.is_thumb() {
            // The kernel takes the lowest bit off.
            let is_odd = entry % 2 == 1;
            ensure!(is_odd, "{entry:#x}: the kernel enters it, but not as Thumb");
            path.at -= 1;
        }
        if let Phase::Signalled(signal, _) = path.phase {
            path.tell(&format!("signal {signal}"));
            let signal = Term::number(signal, platform.bits);
            match platform.signal {
                Some(register) => _ = path.registers.insert(register, signal),
                None => path.put(platform.bytes(), &signal),
            }
        }
        let mut open = vec![path];
        while let Some(mut path) = open.pop() {
            // Its start and each fork begin one.
            loop {
                match self.step(&mut path, &mut open) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => return Err(self.explain(&path, error)),
                }
            }
            self.found.paths += 1;
        }
        Ok(())
    }

    /// The error, with the way there and an input that leads there.
    fn explain(&mut self, path: &Path, error: Error) -> Error {
        let input = match self.against.take() {
            None => self.input(path, &[]).ok().flatten(),
            against => against,
        };
        let pairs = input.iter().flatten();
        let input = pairs
            .map(|(name, value)| format!("{name} = {value}"))
            .join(", ");
        let input = if input.is_empty() { "any" } else { &input };
        let instruction = self.found.instructions.get(&path.at);
        let instruction = instruction.map_or(String::new(), |it| format!(", {}", it.text));
        let (name, story) = (self.prover.platform.name, path.story.join("; "));
        anyhow!(
            "{name}, {:#x}{instruction}: {error:#}\n  way: {story}\n  input: {input}",
            path.at
        )
    }

    /// Goes on by an instruction, if it goes on; where both ways may be gone, the other is left open.
    fn step(&mut self, path: &mut Path, open: &mut Vec<Path>) -> Result<bool> {
        let platform = self.prover.platform;
        if self.comes_again(path)? {
            return Ok(false);
        }
        path.length += 1;
        let has_end = path.length < LONGEST && self.found.paths < MOST;
        ensure!(has_end, "goes on without an end");
        let is_place = path.at >= 0 && path.at % platform.step == 0;
        ensure!(is_place, "there is no instruction");
        let instruction = self.prover.decoder.decode(self.bytes, path.at)?;
        let instructions = &mut self.found.instructions;
        instructions.insert(path.at, instruction.clone());
        let mut machine = Machine {
            platform,
            instruction: &instruction,
            registers: mem::take(&mut path.registers),
            memory: &mut World { proof: self, path },
            file: Term::symbol("file", platform.bits),
        };
        let flow = machine.run();
        path.registers = machine.registers;
        let next = path.at + instruction.length;
        match flow? {
            Flow::Next => path.at = next,
            Flow::Jump(to) => path.at = in_file(&to)?,
            Flow::Kernel => {
                contract::call(self, path)?;
                path.calls += 1;
                path.at = next;
            }
            Flow::Branch(condition, to) => {
                let to = in_file(&to)?;
                let is_open = self.input(path, slice::from_ref(&condition))?.is_some();
                // One of the two is.
                if is_open && self.input(path, &[condition.not()])?.is_some() {
                    let mut other = path.clone();
                    path.given.push(condition.not());
                    path.at = next;
                    other.given.push(condition);
                    other.at = to;
                    open.push(other);
                } else {
                    path.at = if is_open { to } else { next };
                }
            }
        }
        Ok(path.phase != Phase::Gone)
    }

    /// Whether it is where it was, at the same step of the contract, and all that comes is proved.
    fn comes_again(&mut self, path: &mut Path) -> Result<bool> {
        let Some(before) = self.last_visit(path)? else {
            path.remember(None);
            return Ok(false);
        };
        let platform = self.prover.platform;
        let is_started = path.phase == Phase::Started;
        let mut open = before.open.clone().unwrap_or_default();
        let mut is_same = path.has_stack_of(&before);
        let arguments = Term::symbol("arguments", platform.bits);
        // The pointers into the arguments go on from one to the next.
        for (name, bits) in platform.state() {
            let (last, now) = (&before.registers[name], &path.registers[name]);
            let is_next = last.distance(now) == Some(platform.bytes());
            let pointer = before.arguments.distance(last);
            let pointer = pointer.filter(|_| is_started && (is_next || before.argument == "later"));
            let is_like = pointer.map_or(last == now, |_| is_next);
            is_same &= open.contains(name) || is_like;
            let value = match pointer {
                Some(offset) if is_next => arguments.plus(offset),
                None if last == now && !open.contains(name) => continue,
                _ => {
                    open.insert(name);
                    path.any(bits)
                }
            };
            path.registers.insert(name, value);
        }
        if is_same && before.open.is_some() {
            return Ok(true);
        }

        // From here on it stands for all times, and for all ways to come here.
        Rc::make_mut(&mut path.stack).retain(|at, byte| before.stack.get(at) == Some(byte));
        path.given.clear();
        if is_started {
            path.arguments = arguments;
            path.argument = "later";
        } else {
            path.answer = path.any(platform.bits);
            path.given.push(contract::again(path).expect("it has one"));
        }
        let covers = |head: &Rc<Path>| {
            let is_open = |name| head.open.as_ref().is_some_and(|it| it.contains(name));
            let mut registers = head.registers.iter();
            head.at == path.at
                && head.phase == path.phase
                && registers.all(|(name, it)| is_open(name) || path.registers[name] == *it)
                && path.has_stack_of(head)
        };
        if self.heads.iter().any(covers) {
            return Ok(true);
        }
        path.visits = Rc::default();
        self.heads.push(path.remember(Some(open)));
        Ok(false)
    }

    /// How it was when it was here, if a step of the contract that may come again lies in between.
    fn last_visit(&mut self, path: &Path) -> Result<Option<Rc<Path>>> {
        let (Some(visit), Some(again)) = (path.visits.get(&path.at), contract::again(path)) else {
            return Ok(None);
        };
        let is_step = path.phase == Phase::Started || path.calls > visit.calls;
        if !is_step || visit.phase != path.phase {
            return Ok(None);
        }
        let is_again = self.input(path, &[again.not()])?.is_none();
        Ok(is_again.then(|| visit.clone()))
    }

    /// Sees that it is true for every input that leads here.
    pub fn prove(&mut self, path: &Path, goal: &Term, otherwise: &str) -> Result<()> {
        let Some(input) = self.input(path, &[goal.not()])? else {
            return Ok(());
        };
        // An error is what the kernel rather answers.
        let rather = self.input(path, &[goal.not(), path.answer.sign()])?;
        self.against = rather.or(Some(input));
        bail!("{otherwise}")
    }

    /// An input that leads here, and for which these are true, too.
    fn input(&mut self, path: &Path, too: &[Term]) -> Result<Option<Input>> {
        self.prover.solver.input(&[&*path.given, too].concat())
    }

    /// What a system call answers, which then is in its register.
    pub fn answer(&mut self, path: &mut Path, name: &str) -> Term {
        let platform = self.prover.platform;
        for (register, bits) in platform.state() {
            if bits < platform.bits || platform.lost.split(' ').contains(&register) {
                let any = path.any(bits);
                path.registers.insert(register, any);
            }
        }
        let answer = Term::symbol(format!("{name}.{}", path.calls), platform.bits);
        let mut given = answer.is_less(-4095).not();
        if platform.bits > 32 {
            given = given.and(&answer.is_less(1 << 31));
        }
        path.given.push(given);
        match platform.error {
            None => _ = path.registers.insert(platform.call[5], answer.clone()),
            Some(flag) => {
                // Negated where it is negative.
                let is_error = answer.sign();
                let mask = is_error.signs(platform.bits);
                let positive = answer.apply("bvxor", &mask).apply("bvsub", &mask);
                path.registers.insert(platform.call[5], positive);
                path.registers.insert(flag, is_error);
            }
        }
        answer
    }

    /// A word, as the kernel reads it where a pointer leads, whatever there is.
    pub fn peek(&mut self, path: &mut Path, address: &Term) -> Result<Term> {
        let place = address.place();
        let (place, offset) = place.context("gives the kernel a pointer to somewhere")?;
        ensure!(place == "stack", "gives the kernel a pointer to {address}");
        let mut bytes = Vec::new();
        for at in offset..offset + self.prover.platform.bytes() {
            let byte = path.stack.get(&at).cloned();
            bytes.push(byte.unwrap_or_else(|| path.any(8)));
        }
        Ok(self.prover.platform.join(bytes))
    }

    /// Those bytes of the file.
    pub fn file(&mut self, start: i64, length: i64) -> Result<Vec<u8>> {
        let range = usize::try_from(start)?..usize::try_from(start + length)?;
        let bytes = self.bytes.get(range);
        let bytes = bytes.with_context(|| format!("reads beyond its file: {start:#x}"))?;
        self.found.read.extend(start..start + length);
        Ok(bytes.to_vec())
    }
}

/// The place in the file that an address of code is.
fn in_file(address: &Term) -> Result<i64> {
    match address.place() {
        Some(("file", offset)) => Ok(offset),
        _ => bail!("jumps out of its file: to {address}"),
    }
}

/// The memory that the program finds.
struct World<'a, 'b> {
    proof: &'a mut Proof<'b>,
    path: &'a mut Path,
}

impl World<'_, '_> {
    fn check_alignment(&self, address: &Term, offset: i64, bytes: i64) -> Result<()> {
        let is_aligned = !self.path.platform.aligned || offset % bytes == 0;
        ensure!(is_aligned, "{address} is not aligned to {bytes} bytes");
        Ok(())
    }

    /// Sees that none of these is 0: a pointer before one leads on, or a letter before the end.
    fn are_there(&mut self, these: Vec<Term>, otherwise: &str) -> Result<()> {
        for it in these {
            let goal = it.is_number(0).not();
            self.proof.prove(self.path, &goal, otherwise)?;
        }
        Ok(())
    }

    /// One byte of an argument.
    fn letter(&mut self, pointer: &str, index: i64) -> Result<Term> {
        let platform = self.path.platform;
        let open = Term::symbol(pointer, platform.bits);
        self.are_there(vec![open], "reads where a null pointer leads")?;
        let letter = |index| Path::letter(pointer, index);
        let is_in_word = |(first, last)| (first..=last).contains(&index);
        if !platform.word.is_some_and(is_in_word) {
            ensure!((0..8).contains(&index), "reads byte {index} of an argument");
            let before = (0..index).map(letter).collect();
            self.are_there(before, "reads behind the end of an argument")?;
        }
        Ok(letter(index))
    }
}

impl Memory for World<'_, '_> {
    fn load(&mut self, address: &Term, bytes: u32) -> Result<Term> {
        let (word, count) = (self.path.platform.bytes(), i64::from(bytes));
        let is_started = self.path.phase == Phase::Started;
        let place = address.place();
        let (place, offset) = place.with_context(|| format!("reads at {address}"))?;
        let is_argument = place.starts_with(self.path.argument) && place != "arguments";
        if !is_argument {
            self.check_alignment(address, offset, count)?;
        }
        let to_arguments = self.path.arguments.distance(address);
        if let Some(distance) = to_arguments.filter(|it| *it >= 0 && is_started) {
            let is_whole = distance % word == 0 && count == word;
            ensure!(is_whole, "reads a part of a pointer to an argument");
            let before = (0..distance / word).map(|it| self.path.argument(it));
            self.are_there(before.collect(), "reads behind the arguments")?;
            return Ok(self.path.argument(distance / word));
        }
        let mut found = Vec::new();
        for at in offset..offset + count {
            found.push(match (place, self.path.stack.get(&at)) {
                ("file", _) => Term::number(self.proof.file(at, 1)?[0].into(), 8),
                ("stack", Some(byte)) => byte.clone(),
                // argc and the pointer to the name.
                ("stack", None) if is_started && (0..2 * word).contains(&at) => {
                    Path::letter("argc", at)
                }
                _ if is_argument => self.letter(place, at)?,
                _ => bail!("reads what it did not write: {address}"),
            });
        }
        Ok(self.path.platform.join(found))
    }

    fn store(&mut self, address: &Term, value: &Term) -> Result<()> {
        let count = i64::from(value.bits / 8);
        let place = address.place();
        let (place, offset) = place.with_context(|| format!("writes at {address}"))?;
        let is_ours = place == "stack" && offset >= -ROOM && offset + count <= self.path.end;
        ensure!(is_ours, "writes where it should not: {address}");
        self.check_alignment(address, offset, count)?;
        self.path.put(offset, value);
        Ok(())
    }

    fn any(&mut self, bits: u32) -> Term {
        self.path.any(bits)
    }
}
