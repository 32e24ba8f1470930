//! A proof, for every input, that the machine code which ships does what it promises: [`contract`] says
//! what that is, [`isa`] what instructions mean, and [`explore`] goes all ways.

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
use solver::Solver;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    rc::Rc,
};
use tests::built;

/// A file that ships, or the same made with the other crate for system calls.
pub struct Program {
    pub platform: &'static Platform,
    /// The folder in target/ that has it.
    pub folder: &'static str,
    pub bytes: Vec<u8>,
}

/// What is found of a program that keeps the contract.
#[derive(Default)]
pub struct Report {
    pub paths: usize,
    /// How many times z3 was asked.
    pub questions: usize,
    /// The system calls that it makes.
    pub calls: BTreeSet<&'static str>,
    pub instructions: BTreeMap<i64, Rc<isa::Instruction>>,
    /// The bytes that it reads or writes out.
    pub read: BTreeSet<i64>,
}

impl Program {
    /// All that `make` builds, by the crate syscalls and, where it knows the architecture, by the
    /// crate sc; of two with the same bytes, one.
    pub fn all() -> Result<Vec<Self>> {
        let sc = ["amd64", "arm64", "riscv64"];
        let mut all: Vec<Self> = Vec::new();
        for (folder, platform) in iproduct!(["pause", "pause-sc"], &PLATFORMS) {
            if folder == "pause" || sc.contains(&platform.name) {
                let path = built(&format!("{folder}/{}/pause", platform.name));
                let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
                all.push(Self {
                    platform,
                    folder,
                    bytes,
                });
            }
        }
        Ok(all.into_iter().unique_by(|it| it.bytes.clone()).collect())
    }

    /// As in target/: pause/amd64.
    pub fn name(&self) -> String {
        format!("{}/{}", self.folder, self.platform.name)
    }

    /// Proves the contract.
    pub fn prove(&self) -> Result<Report> {
        Prover::new(self.platform)?.prove(&self.bytes)
    }
}

impl Report {
    /// The instruction that this byte of the file is of.
    pub fn instruction_around(&self, offset: usize) -> Option<&isa::Instruction> {
        let (_, before) = self.instructions.range(..=offset as i64).next_back()?;
        ((offset as i64) < before.at + before.length).then_some(before)
    }
}

/// What proves files of a platform, one after the other.
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
