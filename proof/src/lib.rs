//! A proof, for every input, that the machine code keeps its contract. [`contract`] says what that is,
//! [`isa`] what instructions mean, and [`explore`] follows all paths.

pub mod contract;
pub mod elf;
pub mod explore;
pub mod isa;
pub mod listing;
pub mod platform;
pub mod seccomp;
pub mod solver;
pub mod term;

use anyhow::{Context, Result};
use isa::Decoder;
use itertools::{Itertools, iproduct};
use platform::{PLATFORMS, Platform};
use sandbox::built;
use solver::Solver;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    rc::Rc,
};

/// A program that ships, or the same program built with the other crate for system calls.
pub struct Program {
    pub platform: &'static Platform,
    /// Its folder in target/: pause/amd64.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What is known of a program that keeps the contract.
#[derive(Default)]
pub struct Report {
    pub paths: usize,
    /// How many times z3 was asked.
    pub questions: usize,
    /// The system calls that the program makes.
    pub calls: BTreeSet<&'static str>,
    pub instructions: BTreeMap<i64, Rc<isa::Instruction>>,
    /// The bytes of the file that the program reads or writes out.
    pub read: BTreeSet<i64>,
}

impl Program {
    /// The programs that `make` builds, with the crate syscalls and, where it knows the architecture,
    /// with the crate sc. Two of the same bytes count once.
    pub fn all() -> Result<Vec<Self>> {
        let sc = ["amd64", "arm64", "riscv64"];
        let both = iproduct!(["pause", "pause-sc"], PLATFORMS.iter());
        let both = both.filter(|(folder, it)| *folder == "pause" || sc.contains(&it.name));
        let programs = both.map(|(folder, platform)| {
            let name = format!("{folder}/{}", platform.name);
            let path = built(&name).join("pause");
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            Ok(Self {
                platform,
                name,
                bytes,
            })
        });
        let programs: Result<Vec<Self>> = programs.collect();
        let programs = programs?.into_iter();
        Ok(programs.unique_by(|it| it.bytes.clone()).collect())
    }

    /// Proves that the program keeps the contract.
    pub fn prove(&self) -> Result<Report> {
        Prover::new(self.platform)?.prove(&self.bytes)
    }
}

impl Report {
    /// The instruction that a byte of the file belongs to.
    pub fn instruction_around(&self, offset: usize) -> Option<&isa::Instruction> {
        let (_, before) = self.instructions.range(..=offset as i64).next_back()?;
        ((offset as i64) < before.at + before.length).then_some(before)
    }

    /// What a byte behind the headers is.
    pub fn kind(&self, offset: usize) -> &'static str {
        match self.instruction_around(offset) {
            Some(_) => "code",
            None if self.read.contains(&(offset as i64)) => "read",
            None => "filler",
        }
    }
}

/// Proves files of one platform, one after the other.
pub struct Prover {
    pub platform: &'static Platform,
    pub decoder: Decoder,
    pub solver: Solver,
}

impl Prover {
    pub fn new(platform: &'static Platform) -> Result<Self> {
        Ok(Self {
            platform,
            decoder: Decoder::new(platform),
            solver: Solver::new()?,
        })
    }
}
