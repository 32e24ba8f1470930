//! Questions to z3, in SMT-LIB.

use crate::term::Term;
use anyhow::{Context, Result, bail};
use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

/// A signed number for each symbol.
pub type Input = BTreeMap<String, i64>;

pub struct Solver {
    z3: Child,
    answers: BufReader<ChildStdout>,
    /// What was asked before: flipped programs have most of their paths in common.
    known: HashMap<Vec<Term>, Option<Input>>,
}

impl Solver {
    pub fn new() -> Result<Self> {
        let mut z3 = Command::new("z3");
        z3.args(["-smt2", "-in", "-t:1000"]).stdin(Stdio::piped());
        let z3 = z3.stdout(Stdio::piped()).spawn();
        let mut z3 = z3.context("z3: cannot be run; install it (Debian's package z3)")?;
        let answers = z3.stdout.take().context("z3 has no output")?;
        z3.stdin
            .as_ref()
            .context("z3 has no input")?
            .write_all(b"(push)")?;
        Ok(Self {
            answers: BufReader::new(answers),
            z3,
            known: HashMap::new(),
        })
    }

    /// An input that meets all conditions, if there is one. z3 has a second to find out.
    pub fn input(&mut self, conditions: &[Term]) -> Result<Option<Input>> {
        let mut open = conditions.to_vec();
        open.retain(|it| it.known() != Some(1));
        if open.iter().any(|it| it.known() == Some(0)) {
            return Ok(None);
        }
        if let Some(answer) = self.known.get(&open) {
            return Ok(answer.clone());
        }
        let mut symbols = BTreeMap::new();
        let mut question = "(pop)(push)".to_owned();
        open.iter().for_each(|it| it.symbols(&mut symbols));
        for (name, bits) in &symbols {
            question += &format!("(declare-const {name} (_ BitVec {bits}))");
        }
        for condition in &open {
            question += &format!("(assert (= {condition} #b1))");
        }
        let mut input = Input::new();
        let is_met = match &*self.ask(&(question + "(check-sat)"))? {
            "sat" => true,
            "unsat" => false,
            other => bail!("z3 does not know: {other}"),
        };
        for (name, bits) in symbols.into_iter().filter(|_| is_met) {
            let value = self.ask(&format!("(eval {name} :completion true)"))?;
            let base = if value.starts_with("#x") { 16 } else { 2 };
            let value = u64::from_str_radix(&value[2..], base)?;
            let value = Term::number(value as i64, bits).known_signed();
            input.insert(name, value.context("it is open")?);
        }
        let answer = is_met.then_some(input);
        self.known.insert(open, answer.clone());
        Ok(answer)
    }

    /// The line that z3 answers.
    fn ask(&mut self, question: &str) -> Result<String> {
        writeln!(self.z3.stdin.as_ref().context("z3 is gone")?, "{question}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}
