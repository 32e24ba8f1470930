//! A proof, for every input, that the machine code keeps its contract. [`contract`] says what that is,
//! [`isa`] what instructions mean, and [`explore`] follows all paths.

pub mod contract;
pub mod elf;
pub mod explore;
pub mod flips;
pub mod isa;
pub mod listing;
pub mod platform;
pub mod run;
pub mod seccomp;
pub mod solver;
pub mod term;

use anyhow::{Context, Result, ensure};
use isa::{Decoder, Instruction};
use itertools::{Itertools, iproduct};
use platform::{PLATFORMS, Platform};
use sandbox::{built, project};
use solver::Solver;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

/// A program that ships, the same built with the other crate for system calls, or any other file.
pub struct Program {
    pub platform: &'static Platform,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// What is known of a program that keeps the contract.
#[derive(Default)]
pub struct Report {
    pub paths: usize,
    /// The system calls that the program makes.
    pub calls: BTreeSet<&'static str>,
    pub instructions: BTreeMap<i64, Arc<Instruction>>,
    /// The bytes of the file that the program reads or writes out.
    pub read: BTreeSet<i64>,
    /// What each byte of the file is.
    pub kinds: Vec<&'static str>,
}

impl Program {
    pub fn read(platform: &str, path: PathBuf) -> Result<Self> {
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let found = PLATFORMS.iter().find(|it| it.name == platform);
        let names = || PLATFORMS.iter().map(|it| it.name).join(" ");
        Ok(Self {
            platform: found.with_context(|| format!("no platform {platform}: {}", names()))?,
            path,
            bytes,
        })
    }

    /// The programs that `make` builds, with the crate syscalls and, if that knows the architecture,
    /// with the crate sc. Two of the same bytes count once.
    pub fn all() -> Result<Vec<Self>> {
        let sc = ["amd64", "arm64", "riscv64"];
        let both = iproduct!(["pause", "pause-sc"], PLATFORMS.iter().map(|it| it.name));
        let both = both.filter(|(directory, name)| *directory == "pause" || sc.contains(name));
        let read =
            |(directory, name)| Self::read(name, built(&format!("{directory}/{name}/pause")));
        let mut programs: Vec<Self> = both.map(read).collect::<Result<_>>()?;
        let mut known = HashSet::new();
        programs.retain(|it| known.insert(it.bytes.clone()));
        Ok(programs)
    }

    /// Its path in target/, if it lies there.
    pub fn name(&self) -> String {
        let path = self.path.strip_prefix(project().join("target"));
        path.unwrap_or(&self.path).display().to_string()
    }

    /// Proves that the program keeps the contract, and prints a line.
    pub fn prove(&self) -> Result<Report> {
        let (name, size, start) = (self.name(), self.bytes.len(), Instant::now());
        let proved = Prover::new(self.platform)?.prove(&self.bytes);
        let report = proved.with_context(|| name.clone())?;
        let (seconds, paths) = (start.elapsed().as_secs_f64(), report.paths);
        let kinds = report.kinds.iter().counts().into_iter().sorted();
        let kinds = kinds.map(|(kind, count)| format!("{count} {kind}"));
        let (kinds, count) = (kinds.format(", "), report.instructions.len());
        println!(
            "{name}: {paths} paths, {seconds:.1} s; {size} bytes: {kinds}; {count} instructions"
        );
        Ok(report)
    }

    /// Sees that no byte of a program that ships is left over, nor one of its system calls.
    pub fn account(&self, report: &Report) -> Result<()> {
        let (name, platform) = (self.name(), self.platform);
        for (kind, most) in [("filler", platform.filler), ("not loaded", 0)] {
            let count = report.kinds.iter().filter(|it| **it == kind).count();
            ensure!(
                count == most,
                "{name}: {count} bytes are {kind}, not {most}"
            );
        }
        let (made, all) = (&report.calls, platform.calls().map(|it| it.0).collect());
        ensure!(*made == all, "{name}: makes {made:?}, not {all:?}");
        Ok(())
    }
}

/// Proves the programs that `make` builds, and that each of their bytes is of use. An error has the way
/// to where one breaks its contract, and an input that leads there.
pub fn prove() -> Result<Vec<(Program, Report)>> {
    let proved = Program::all()?.into_iter().map(|program| {
        let report = program.prove()?;
        program.account(&report)?;
        Ok((program, report))
    });
    proved.collect()
}

/// Compares a file in the repository with what it must be, or writes it.
fn compare(name: &str, text: &str, write: bool) -> Result<()> {
    let path = project().join(name);
    if write {
        let new = path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, &path)?;
    }
    let is_there = fs::read_to_string(path).is_ok_and(|it| it == text);
    ensure!(is_there, "{name} is stale: run `make listings`");
    Ok(())
}

impl Report {
    /// The instruction that a byte of the file belongs to.
    pub fn instruction_around(&self, offset: usize) -> Option<&Instruction> {
        let (_, before) = self.instructions.range(..=offset as i64).next_back()?;
        ((offset as i64) < before.at + before.length).then_some(before)
    }
}

/// Proves files of one platform, one after the other.
pub struct Prover {
    pub platform: &'static Platform,
    pub decoder: Decoder,
    pub solver: Solver,
    /// Whether nothing was proved before.
    is_new: bool,
}

impl Prover {
    pub fn new(platform: &'static Platform) -> Result<Self> {
        Ok(Self {
            platform,
            decoder: Decoder::new(platform),
            solver: Solver::new()?,
            is_new: true,
        })
    }
}
