//! `proof`: proves that the machine code of pause keeps its contract (docs/proof.md).

use anyhow::Result;
use clap::Parser;
use proof::{Program, flips, listing, run, seccomp};
use std::{env, path::PathBuf, process::ExitCode};

/// Proves, for every input, that the machine code of pause does what it promises
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Prove the programs that make builds, or one file of a platform
    Prove {
        #[arg(requires = "file")]
        platform: Option<String>,
        file: Option<PathBuf>,
    },
    /// Compare proof/listings with the programs, or write them
    List {
        #[arg(long)]
        write: bool,
    },
    /// Compare examples/seccomp.json with the programs, or write it
    Seccomp {
        #[arg(long)]
        write: bool,
    },
    /// Flip bits of the programs: each must break the proof, or make an equal program
    Flips(flips::Options),
    /// Run a file of a platform: it must behave as pause does
    Run { platform: String, file: PathBuf },
}

fn obey(command: Command) -> Result<()> {
    match command {
        Command::Prove { platform, file } => match platform.zip(file) {
            Some((platform, file)) => Program::read(&platform, file)?.prove().map(drop),
            None => proof::prove().map(drop),
        },
        Command::List { write } => listing::check(&proof::prove()?, write),
        Command::Seccomp { write } => seccomp::check(&proof::prove()?, write),
        Command::Flips(options) => flips::check(&proof::prove()?, &options, &env::current_exe()?),
        Command::Run { platform, file } => run::run(Program::read(&platform, file)?),
    }
}

fn main() -> ExitCode {
    let Err(error) = obey(Command::parse()) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("proof: {error:#}");
    ExitCode::FAILURE
}
