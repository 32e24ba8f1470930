//! All paths of a program, each with all inputs that lead along it. A path goes around a loop until it
//! comes to the same place at the same step of the contract. What has changed since then is replaced by
//! "any number", and from there the path must come back to the same state: then the loop is proved.

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

/// The most instructions of a path, and the most paths: a program with more makes no progress.
const LONGEST: usize = 300;
const MOST: usize = 400;

/// A way through the program, up to an instruction.
#[derive(Clone)]
pub struct Path {
    pub platform: &'static Platform,
    at: i64,
    pub registers: Registers,
    /// The bytes written, by their distance from the first stack pointer.
    stack: Rc<BTreeMap<i64, Term>>,
    /// The conditions on an input that leads here.
    given: Vec<Term>,
    pub phase: Phase,
    /// What the last system call answered.
    pub answer: Term,
    /// The first argument not looked at yet: where its pointer lies, and what it is called.
    arguments: Term,
    argument: &'static str,
    /// Where writing must end, as a distance from the first stack pointer.
    pub end: i64,
    /// The system calls and signals so far, in words.
    story: String,
    calls: usize,
    anys: usize,
    length: usize,
    /// The last visit to each instruction.
    visits: Rc<HashMap<i64, Rc<Path>>>,
    /// The registers that may hold any number, at a visit that stands for all later ones.
    open: BTreeSet<&'static str>,
}

/// A proof under way.
pub struct Proof<'a> {
    prover: &'a mut Prover,
    bytes: &'a [u8],
    /// The path that is followed, and those that are left for later.
    pub path: Path,
    open: Vec<Path>,
    /// The visits that stand for all later ones.
    heads: Vec<Rc<Path>>,
    /// The signals taken, with their lines, and where their handlers begin.
    pub handlers: BTreeSet<((i64, &'static str), i64)>,
    /// An input for which the contract is broken.
    against: Option<Input>,
    pub found: Report,
}

impl Path {
    fn new(platform: &'static Platform, entry: i64, phase: Phase) -> Self {
        let word = |name: &str| Term::symbol(name, platform.bits());
        let any = |(name, bits): (&'static str, _)| (name, Term::symbol(name, bits));
        let mut path = Self {
            platform,
            // Thumb's addresses are odd.
            at: entry - i64::from(platform.is_thumb()),
            registers: platform.state().map(any).collect(),
            stack: Rc::default(),
            given: Vec::new(),
            phase,
            answer: Term::number(0, platform.bits()),
            arguments: word("stack").plus(2 * platform.bytes()),
            argument: "argument",
            end: match phase {
                Phase::Signalled(..) => platform.save_area,
                _ if platform.takes_slots => 2 * platform.bytes(),
                _ => 0,
            },
            story: String::new(),
            calls: 0,
            anys: 0,
            length: 0,
            visits: Rc::default(),
            open: BTreeSet::new(),
        };
        path.registers.insert(platform.stack(), word("stack"));
        if let Some(register) = platform.entry {
            path.registers.insert(register, word("file").plus(entry));
        }
        if let Phase::Signalled(signal, _) = phase {
            path.tell(&format!("signal {signal}"));
            let signal = Term::number(signal, platform.bits());
            match platform.signal {
                Some(register) => _ = path.registers.insert(register, signal),
                None => path.put(platform.bytes(), &signal),
            }
        }
        path
    }

    pub fn tell(&mut self, what: &str) {
        self.story += &format!("; {:#x} {what}", self.at);
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

    /// The pointer to an argument, counted from the first not looked at yet.
    pub fn argument(&self, index: i64) -> Term {
        Term::symbol(format!("{}{index}", self.argument), self.platform.bits())
    }

    fn letter(pointer: &str, index: i64) -> Term {
        Term::symbol(format!("{pointer}.byte{index}"), 8)
    }

    /// Whether the first argument not looked at yet is `-v` or `-V`.
    pub fn is_flag(&self) -> Term {
        let name = format!("{}0", self.argument);
        let is = |index, letter: u8| Self::letter(&name, index).is_number(letter.into());
        Term::all([is(0, b'-'), is(1, b'v').or(&is(1, b'V')), is(2, 0)])
    }

    /// Keeps this visit for when the path comes here again.
    fn remember(&mut self, open: BTreeSet<&'static str>) -> Rc<Self> {
        let mut here = self.clone();
        (here.visits, here.open) = (Rc::default(), open);
        let here = Rc::new(here);
        Rc::make_mut(&mut self.visits).insert(self.at, here.clone());
        here
    }

    /// A word of the stack as the kernel reads it: any number if nothing was written.
    pub fn peek(&mut self, address: &Term) -> Result<Term> {
        let Some(("stack", offset)) = address.place() else {
            bail!("gives the kernel a pointer to {address}");
        };
        let bytes = offset..offset + self.platform.bytes();
        let byte = |at| self.stack.get(&at).cloned().unwrap_or_else(|| self.any(8));
        let bytes: Vec<_> = bytes.map(byte).collect();
        Ok(self.platform.join(bytes))
    }

    /// Has the kernel answer a system call: any number that it may, in the register for it.
    pub fn answer(&mut self, name: &str) -> Term {
        let platform = self.platform;
        for (register, bits) in platform.state() {
            if bits < platform.bits() || platform.lost.split(' ').contains(&register) {
                let any = self.any(bits);
                self.registers.insert(register, any);
            }
        }
        let answer = Term::symbol(format!("{name}.{}", self.calls), platform.bits());
        let mut given = answer.is_less(-4095).not();
        if platform.bits() > 32 {
            given = given.and(&answer.is_less(1 << 31));
        }
        self.given.push(given);
        let mut result = answer.clone();
        if let Some(flag) = platform.error {
            let is_error = answer.sign();
            let mask = is_error.signs(platform.bits());
            // Negated if it is negative.
            result = answer.apply("bvxor", &mask).apply("bvsub", &mask);
            self.registers.insert(flag, is_error);
        }
        self.registers.insert(platform.call[5], result);
        self.calls += 1;
        answer
    }
}

impl Prover {
    /// Proves that a file keeps the contract. An error says what it does instead, the way there, and an
    /// input that leads there.
    pub fn prove(&mut self, bytes: &[u8]) -> Result<Report> {
        let (platform, size) = (self.platform, bytes.len());
        let (bytes, entry) = elf::load(platform, bytes)?;
        if self.is_new {
            let all = entry..bytes.len() as i64;
            self.decoder.learn(all.map(|at| (bytes, at)))?;
            self.is_new = false;
        }
        let start = Path::new(platform, entry, Phase::Started);
        let mut proof = Proof {
            prover: self,
            bytes,
            path: start.clone(),
            open: vec![start],
            heads: Vec::new(),
            handlers: BTreeSet::new(),
            against: None,
            found: Report::default(),
        };
        proof.explore()?;
        for ((signal, line), handler) in proof.handlers.clone().into_iter().rev() {
            let phase = Phase::Signalled(signal, line);
            proof.open.push(Path::new(platform, handler, phase));
        }
        proof.explore()?;
        let mut found = proof.found;
        for ((_, before), (at, _)) in found.instructions.iter().tuple_windows() {
            let is_behind = *at >= before.at + before.length;
            let otherwise = "it jumps into the middle of an instruction";
            ensure!(is_behind, "{at:#x}: {otherwise}");
        }
        let kind = |at| match found.instruction_around(at) {
            Some(_) => "code",
            None if at < elf::code(platform) => "headers",
            None if found.read.contains(&(at as i64)) => "read",
            None if at < bytes.len() => "filler",
            None => "not loaded",
        };
        found.kinds = (0..size).map(kind).collect();
        Ok(found)
    }
}

impl Proof<'_> {
    fn explore(&mut self) -> Result<()> {
        while let Some(path) = self.open.pop() {
            self.path = path;
            while self.step().map_err(|error| self.explain(error))? {}
            self.found.paths += 1;
        }
        Ok(())
    }

    /// Adds the way there to an error, and an input that leads there.
    fn explain(&mut self, error: Error) -> Error {
        let against = self.against.take();
        let input = against.or_else(|| self.input(&Term::truth(true)).ok().flatten());
        let pair = |(name, value): (&String, _)| format!("{name} = {value}");
        let input = input.iter().flatten().map(pair).join(", ");
        let input = if input.is_empty() { "any" } else { &input };
        let (name, at) = (self.path.platform.name, self.path.at);
        let instruction = self.found.instructions.get(&at);
        let instruction = instruction.map_or(String::new(), |it| format!(", {}", it.text));
        let story = match self.path.story.trim_start_matches("; ") {
            "" => "the first instructions",
            story => story,
        };
        anyhow!("{name}, {at:#x}{instruction}: {error:#}\n  way: {story}\n  input: {input}")
    }

    /// Follows the path by an instruction, unless it ends. Where it may branch, the other way is left
    /// for later.
    fn step(&mut self) -> Result<bool> {
        if self.path.phase == Phase::Gone || self.is_loop()? {
            return Ok(false);
        }
        contract::signal(&self.path)?;
        self.path.length += 1;
        let has_end = self.path.length < LONGEST && self.found.paths < MOST;
        ensure!(has_end, "goes on without an end");
        let (platform, at) = (self.path.platform, self.path.at);
        let instruction = self.prover.decoder.decode(self.bytes, at)?;
        self.found.instructions.insert(at, instruction.clone());
        let mut machine = Machine {
            platform,
            instruction: &instruction,
            registers: mem::take(&mut self.path.registers),
            file: Term::symbol("file", platform.bits()),
            memory: self,
        };
        let flow = machine.run();
        self.path.registers = machine.registers;
        let next = at + instruction.length;
        self.path.at = match flow? {
            Flow::Next => next,
            Flow::Kernel => {
                contract::call(self)?;
                next
            }
            Flow::Branch(condition, to) => {
                let Some(("file", to)) = to.place() else {
                    bail!("jumps out of its file: to {to}");
                };
                let otherwise = condition.not();
                let is_sure = condition.known() == Some(1);
                let may_branch = is_sure || self.input(&condition)?.is_some();
                let may_go_on = !may_branch || self.input(&otherwise)?.is_some();
                if may_branch && may_go_on {
                    let mut other = self.path.clone();
                    other.given.push(condition);
                    other.at = to;
                    self.open.push(other);
                    self.path.given.push(otherwise);
                }
                if may_go_on { next } else { to }
            }
        };
        Ok(true)
    }

    /// Whether the path, or another, was here before in the same state, at the same step of the contract:
    /// then all that follows is proved there.
    fn is_loop(&mut self) -> Result<bool> {
        let (path, again) = (&self.path, contract::again(&self.path));
        let is_started = path.phase == Phase::Started;
        let may_be =
            |it: &&Rc<Path>| it.phase == path.phase && (is_started || path.calls > it.calls);
        let before = path.visits.get(&path.at).filter(may_be).cloned();
        let before = match (before, again) {
            // The contract lets the path go around from there to here.
            (Some(before), Some(again)) if self.input(&again.not())?.is_none() => before,
            _ => {
                self.path.remember(BTreeSet::new());
                return Ok(false);
            }
        };
        let (path, platform) = (&mut self.path, before.platform);
        let arguments = Term::symbol("arguments", platform.bits());
        let mut open = before.open.clone();
        for (name, bits) in platform.state() {
            let (last, now) = (&before.registers[name], &path.registers[name]);
            // A pointer into the arguments moves from one to the next.
            let is_next = last.distance(now) == Some(platform.bytes());
            let pointer = before.arguments.distance(last);
            let pointer = pointer.filter(|_| is_started && (is_next || before.argument == "later"));
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
        // From here on this visit stands for all later ones, however the path came here.
        Rc::make_mut(&mut path.stack).retain(|at, byte| before.stack.get(at) == Some(byte));
        path.given.clear();
        if is_started {
            (path.arguments, path.argument) = (arguments, "later");
        } else {
            path.answer = path.any(platform.bits());
            path.given.extend(contract::again(path));
        }
        let covers = |head: &Rc<Path>| {
            let has_byte = |(at, byte)| path.stack.get(at) == Some(byte);
            let mut registers = head.registers.iter();
            head.at == path.at
                && head.phase == path.phase
                && registers
                    .all(|(name, it)| head.open.contains(name) || path.registers[name] == *it)
                && head.stack.iter().all(has_byte)
        };
        if self.heads.iter().any(covers) {
            return Ok(true);
        }
        path.visits = Rc::default();
        self.heads.push(path.remember(open));
        Ok(false)
    }

    /// Sees that the goal is true for every input that leads here.
    pub fn prove(&mut self, goal: &Term, otherwise: &str) -> Result<()> {
        let Some(input) = self.input(&goal.not())? else {
            return Ok(());
        };
        // The input that is shown has an error for an answer, if one does it.
        let error = self.input(&goal.not().and(&self.path.answer.sign()))?;
        self.against = error.or(Some(input));
        bail!("{otherwise}")
    }

    /// An input that leads here and meets the condition.
    fn input(&mut self, condition: &Term) -> Result<Option<Input>> {
        let conditions = [&*self.path.given, slice::from_ref(condition)].concat();
        self.prover.solver.input(&conditions)
    }

    /// Bytes of the file.
    pub fn file(&mut self, start: i64, length: i64) -> Result<Vec<u8>> {
        let range = usize::try_from(start)?..usize::try_from(start + length)?;
        let bytes = self.bytes.get(range);
        let bytes = bytes.with_context(|| format!("reads beyond its file: {start:#x}"))?;
        self.found.read.extend(start..start + length);
        Ok(bytes.to_vec())
    }

    /// What an address is relative to, and its distance from there in bytes.
    fn place<'t>(&self, address: &'t Term, bytes: i64) -> Result<(&'t str, i64)> {
        let place = address.place();
        let (place, offset) = place.with_context(|| format!("looks for memory at {address}"))?;
        let may_be_odd = !self.path.platform.aligned || self.is_argument(place);
        let is_aligned = may_be_odd || offset % bytes == 0;
        ensure!(is_aligned, "{address} is not aligned to {bytes} bytes");
        Ok((place, offset))
    }

    /// Whether this is a pointer to an argument, whose letters may lie anywhere.
    fn is_argument(&self, place: &str) -> bool {
        place.starts_with(self.path.argument) && place != "arguments"
    }

    /// Sees that none of these is 0: neither a pointer before one that is read, nor a letter.
    fn are_there(&mut self, these: Vec<Term>, otherwise: &str) -> Result<()> {
        let goal = Term::all(these.iter().map(|it| it.is_number(0).not()));
        self.prove(&goal, otherwise)
    }

    /// One byte of an argument.
    fn letter(&mut self, pointer: &str, index: i64) -> Result<Term> {
        let open = Term::symbol(pointer, self.path.platform.bits());
        self.are_there(vec![open], "reads where a null pointer leads")?;
        let letter = |index| Path::letter(pointer, index);
        let is_in_word = |(first, last)| (first..=last).contains(&index);
        if !self.path.platform.word.is_some_and(is_in_word) {
            ensure!((0..8).contains(&index), "reads byte {index} of an argument");
            let before = (0..index).map(letter).collect();
            self.are_there(before, "reads after the end of an argument")?;
        }
        Ok(letter(index))
    }
}

/// The memory that the program finds.
impl Memory for Proof<'_> {
    fn load(&mut self, address: &Term, bytes: u32) -> Result<Term> {
        let (word, count) = (self.path.platform.bytes(), i64::from(bytes));
        let is_started = self.path.phase == Phase::Started;
        let (place, offset) = self.place(address, count)?;
        let to_arguments = self.path.arguments.distance(address);
        if let Some(distance) = to_arguments.filter(|it| (0..8 * word).contains(it) && is_started) {
            let is_whole = distance % word == 0 && count == word;
            ensure!(is_whole, "reads a part of a pointer to an argument");
            let before = (0..distance / word).map(|it| self.path.argument(it));
            self.are_there(before.collect(), "reads after the arguments")?;
            return Ok(self.path.argument(distance / word));
        }
        let byte = |at| match (place, self.path.stack.get(&at)) {
            ("file", _) => Ok(Term::number(self.file(at, 1)?[0].into(), 8)),
            ("stack", Some(byte)) => Ok(byte.clone()),
            // argc and the pointer to the name.
            ("stack", None) if is_started && (0..2 * word).contains(&at) => {
                Ok(Path::letter("argc", at))
            }
            _ if self.is_argument(place) => self.letter(place, at),
            _ => bail!("reads what it did not write: {address}"),
        };
        let found: Result<Vec<_>> = (offset..offset + count).map(byte).collect();
        Ok(self.path.platform.join(found?))
    }

    fn store(&mut self, address: &Term, value: &Term) -> Result<()> {
        let count = i64::from(value.bits / 8);
        let (place, offset) = self.place(address, count)?;
        let is_ours =
            place == "stack" && offset >= -contract::ROOM && offset + count <= self.path.end;
        ensure!(is_ours, "writes where it should not: {address}");
        self.path.put(offset, value);
        Ok(())
    }

    fn any(&mut self, bits: u32) -> Term {
        self.path.any(bits)
    }
}
