//! `proof`: proves that the machine code of pause keeps its contract (docs/proof.md).

use anyhow::{Context, Result};
use clap::Parser;
use itertools::Itertools;
use proof::{Program, flips, listing, platform::PLATFORMS, run, seccomp};
use std::{env, path::PathBuf, process::ExitCode};

/// Proves, for every input, that the machine code of pause does what it promises
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Prove the programs that make builds, or one file
    Prove {
        /// The file's platform: amd64
        #[arg(requires = "file")]
        platform: Option<String>,
        file: Option<PathBuf>,
    },
    /// Compare proof/listings with the programs
    List {
        /// Write them instead
        #[arg(long)]
        write: bool,
    },
    /// Compare examples/seccomp.json with the programs
    Seccomp {
        /// Write it instead
        #[arg(long)]
        write: bool,
    },
    /// Flip bits of the programs: each must break the proof, or make an equal program
    Flips {
        /// Flip one of so many bits
        #[arg(long, default_value_t = 1)]
        every: usize,
        /// Flip so many pairs of bits, each in one instruction
        #[arg(long, default_value_t = 3000)]
        pairs: usize,
        /// Run the equal programs
        #[arg(long)]
        run: bool,
    },
    /// Run a file: versions, lines, exit codes and orphans must be those of pause
    Run { platform: String, file: PathBuf },
}

fn main() -> ExitCode {
    let Err(error) = obey(Command::parse()) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("proof: {error:#}");
    ExitCode::FAILURE
}

fn obey(command: Command) -> Result<()> {
    match command {
        Command::Prove {
            platform: Some(platform),
            file: Some(file),
        } => {
            let found = PLATFORMS.iter().find(|it| it.name == platform);
            let names = || PLATFORMS.iter().map(|it| it.name).join(" ");
            let found = found.with_context(|| format!("no platform {platform}: {}", names()))?;
            let program = Program::read(found, file.display().to_string(), file)?;
            program.prove().map(drop)
        }
        Command::Prove { .. } => proof::prove().map(drop),
        Command::List { write } => listing::check(&proof::prove()?, write),
        Command::Seccomp { write } => seccomp::check(&proof::prove()?, write),
        Command::Flips { every, pairs, run } => {
            let proof = run.then(env::current_exe).transpose()?;
            flips::check(&proof::prove()?, every, pairs, proof.as_deref())
        }
        Command::Run { platform, file } => {
            run::run(&platform, file);
            Ok(())
        }
    }
}
