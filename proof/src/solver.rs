//! Questions to z3, in SMT-LIB.

use crate::term::Term;
use anyhow::{Context as _, Result, anyhow};
use easy_smt::{Context, ContextBuilder, Response};
use std::collections::{BTreeMap, HashMap};

/// A signed number for each symbol.
pub type Input = BTreeMap<String, i64>;

pub struct Solver {
    z3: Context,
    /// What was asked before: flipped programs have most of their paths in common.
    known: HashMap<Vec<Term>, Option<Input>>,
    /// How many times z3 was asked.
    pub questions: usize,
}

impl Solver {
    pub fn new() -> Result<Self> {
        let z3 = ContextBuilder::new()
            .with_z3_defaults()
            .solver_args(["-smt2", "-in", "-t:1000"])
            .build()
            .context("z3: cannot be run; install it (Debian's package z3)")?;
        Ok(Self {
            z3,
            known: HashMap::new(),
            questions: 0,
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
        let answer = self.ask(&open)?;
        self.known.insert(open, answer.clone());
        Ok(answer)
    }

    fn ask(&mut self, conditions: &[Term]) -> Result<Option<Input>> {
        let mut symbols = BTreeMap::new();
        conditions.iter().for_each(|it| it.symbols(&mut symbols));
        self.questions += 1;
        self.z3.push()?;
        for (name, &bits) in &symbols {
            let sort = self.z3.bit_vec_sort(self.z3.numeral(bits));
            self.z3.declare_const(name, sort)?;
        }
        for condition in conditions {
            let is_true = self.z3.atom(format!("(= {condition} #b1)"));
            self.z3.assert(is_true)?;
        }
        let answer = match self.z3.check()? {
            Response::Unsat => Ok(None),
            Response::Unknown => Err(anyhow!("z3 does not know")),
            Response::Sat => self.example(&symbols).map(Some),
        };
        self.z3.pop()?;
        answer
    }

    fn example(&mut self, symbols: &BTreeMap<String, u32>) -> Result<Input> {
        let names = symbols.keys().map(|name| self.z3.atom(name)).collect();
        let mut input = Input::new();
        for (name, value) in self.z3.get_value(names)? {
            let name = self.z3.display(name).to_string();
            let value = self.z3.display(value).to_string();
            let base = if value.starts_with("#x") { 16 } else { 2 };
            let value = u64::from_str_radix(&value[2..], base)?;
            let value = Term::number(value as i64, symbols[&name]).known_signed();
            input.insert(name, value.expect("it is a number"));
        }
        Ok(input)
    }
}
