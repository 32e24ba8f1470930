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
use isa::Decoder;
use itertools::{Itertools, iproduct};
use platform::{PLATFORMS, Platform};
use sandbox::{built, project};
use solver::Solver;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

/// A program that ships, the same built with the other crate for system calls, or any other file.
pub struct Program {
    pub platform: &'static Platform,
    /// Its directory in target/, pause/amd64, or its path.
    pub name: String,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// What is known of a program that keeps the contract.
#[derive(Default)]
pub struct Report {
    pub paths: usize,
    /// The system calls that the program makes.
    pub calls: BTreeSet<&'static str>,
    pub instructions: BTreeMap<i64, Arc<isa::Instruction>>,
    /// The bytes of the file that the program reads or writes out.
    pub read: BTreeSet<i64>,
    /// How many bytes the headers have, what is loaded, and the file.
    pub headers: usize,
    pub loaded: usize,
    pub size: usize,
}

impl Program {
    pub fn read(platform: &'static Platform, name: String, path: PathBuf) -> Result<Self> {
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(Self {
            platform,
            name,
            path,
            bytes,
        })
    }

    /// The programs that `make` builds, with the crate syscalls and, where it knows the architecture,
    /// with the crate sc. Two of the same bytes count once.
    pub fn all() -> Result<Vec<Self>> {
        let sc = ["amd64", "arm64", "riscv64"];
        let both = iproduct!(["pause", "pause-sc"], PLATFORMS.iter());
        let both = both.filter(|(directory, it)| *directory == "pause" || sc.contains(&it.name));
        let programs = both.map(|(directory, platform)| {
            let name = format!("{directory}/{}", platform.name);
            let path = built(&name).join("pause");
            Self::read(platform, name, path)
        });
        let programs: Vec<Self> = programs.collect::<Result<_>>()?;
        Ok(programs
            .into_iter()
            .unique_by(|it| it.bytes.clone())
            .collect())
    }

    /// Proves that the program keeps the contract, and prints a line.
    pub fn prove(&self) -> Result<Report> {
        let start = Instant::now();
        let report = Prover::new(self.platform)?.prove(&self.bytes)?;
        let bytes = report.count().into_iter();
        println!(
            "{}: {} paths, {:.1} s; {} bytes: {}; {} instructions",
            self.name,
            report.paths,
            start.elapsed().as_secs_f64(),
            self.bytes.len(),
            bytes
                .map(|(kind, count)| format!("{count} {kind}"))
                .format(", "),
            report.instructions.len(),
        );
        Ok(report)
    }

    /// Sees that no byte of a program that ships is left over, nor one of its system calls.
    pub fn account(&self, report: &Report) -> Result<()> {
        let (name, platform, bytes) = (&self.name, self.platform, report.count());
        for (kind, most) in [("filler", platform.filler), ("not loaded", 0)] {
            let count = bytes.get(kind).copied().unwrap_or_default();
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
        let report = program.prove().with_context(|| program.name.clone())?;
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
    pub fn instruction_around(&self, offset: usize) -> Option<&isa::Instruction> {
        let (_, before) = self.instructions.range(..=offset as i64).next_back()?;
        ((offset as i64) < before.at + before.length).then_some(before)
    }

    /// What a byte of the file is.
    pub fn kind(&self, offset: usize) -> &'static str {
        match self.instruction_around(offset) {
            Some(_) => "code",
            None if offset < self.headers => "headers",
            None if self.read.contains(&(offset as i64)) => "read",
            None if offset < self.loaded => "filler",
            None => "not loaded",
        }
    }

    /// How many bytes there are of each kind.
    fn count(&self) -> BTreeMap<&'static str, usize> {
        let kinds = (0..self.size).map(|at| self.kind(at));
        kinds.counts().into_iter().collect()
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
