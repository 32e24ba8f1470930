//! Flipped bits: the proof fails, or proves the new program as well. Then it is an equal one, and behaves
//! like one.

use crate::{Program, Prover, Report};
use anyhow::{Result, ensure};
use itertools::{Itertools, iproduct};
use std::{
    fs::{self, Permissions},
    iter::zip,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    thread,
};

#[derive(clap::Args)]
pub struct Options {
    /// Flip one of so many bits
    #[arg(long, default_value_t = 1)]
    pub every: usize,
    /// Flip so many pairs of bits, each in one instruction
    #[arg(long, default_value_t = 3000)]
    pub pairs: usize,
    /// Run the equal programs
    #[arg(long)]
    pub run: bool,
}

/// Bits of a file: each byte's offset, and the bit's number, 0 the lowest.
type Bits = Vec<(usize, usize)>;
/// An equal program: `0x95.3 mov r2, r0 -> mov r2, r8`, and its file.
type Equal = (String, Vec<u8>);

/// The bits to flip. Pairs are random, and the same each time.
fn choose(size: usize, report: &Report, options: &Options) -> Vec<Bits> {
    let bits = iproduct!(0..size, 0..8).step_by(options.every);
    let mut random = fastrand::Rng::with_seed(0);
    let instructions: Vec<_> = report.instructions.values().collect();
    let pairs = (0..options.pairs).map(|_| {
        let it = instructions[random.usize(..instructions.len())];
        let first = 8 * it.at as usize;
        let bits = first..first + 8 * it.length as usize;
        let bits = random.choose_multiple(bits, 2).into_iter();
        bits.map(|bit| (bit / 8, bit % 8)).collect()
    });
    bits.map(|bit| vec![bit]).chain(pairs).collect()
}

/// The programs that are proved as well.
fn equal(program: &Program, report: &Report, all: &[Bits]) -> Result<Vec<Equal>> {
    let mut prover = Prover::new(program.platform)?;
    let flip = |bits: &Bits| {
        let mut flipped = program.bytes.clone();
        bits.iter().for_each(|(at, bit)| flipped[*at] ^= 1 << bit);
        flipped
    };
    let files: Vec<_> = all.iter().map(flip).collect();
    let was = |bits: &Bits| report.instruction_around(bits[0].0);
    // An instruction may become a shorter one, and others after it.
    let places = zip(&files, all).filter_map(|(file, bits)| Some((&**file, was(bits)?.at)));
    let places = places.flat_map(|(file, at)| (at..at + 8).map(move |at| (file, at)));
    prover.decoder.learn(places)?;
    let mut found = Vec::new();
    for (file, bits) in zip(files, all) {
        if prover.prove(&file).is_err() {
            continue;
        }
        let (name, kind) = (program.name(), report.kinds[bits[0].0]);
        let places = bits.iter().map(|(at, bit)| format!("{at:#x}.{bit}"));
        let mut what = places.format(" ").to_string();
        let may_be = ["code", "filler"].contains(&kind);
        ensure!(may_be, "{name}: {what} may be another: {kind}");
        if let Some(was) = was(bits) {
            let is = prover.decoder.read(&file, was.at)?;
            what += &format!("  {} -> {}", was.text, is.text);
        } else {
            what += "  read by nothing";
        }
        found.push((what, file));
    }
    Ok(found)
}

/// Runs equal programs by the command `proof`, and returns what those that misbehave do.
fn misbehaving(program: &Program, proof: &Path, all: &[Equal]) -> Result<Vec<String>> {
    let directory = tempfile::tempdir()?;
    let mut found = Vec::new();
    for (index, (what, file)) in all.iter().enumerate() {
        let path = directory.path().join(index.to_string());
        fs::write(&path, file)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        let mut run = Command::new(proof);
        run.args(["run", program.platform.name]).arg(path);
        let run = run.env_remove("RUST_BACKTRACE").output()?;
        let errors = String::from_utf8_lossy(&run.stderr).replace('\n', " ");
        let line = format!("{}: {what}: {errors}", program.name());
        found.extend((!run.status.success()).then_some(line));
    }
    Ok(found)
}

/// Flips bits of each program, prints which make an equal program, and runs these by the command `proof`.
///
/// # Errors
///
/// A header or a text may be another, or an equal program misbehaves.
pub fn check(proved: &[(Program, Report)], options: &Options, proof: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for (program, report) in proved {
        let all = choose(program.bytes.len(), report, options);
        // On both of two processors.
        let (some, others) = all.split_at(all.len() / 2);
        let found = thread::scope(|scope| {
            let others = scope.spawn(|| equal(program, report, others));
            let some = equal(program, report, some)?;
            anyhow::Ok([some, others.join().expect("it does not panic")?].concat())
        })?;
        let (equal, pairs) = (found.len(), options.pairs);
        let (bits, caught) = (all.len() - pairs, all.len() - equal);
        let name = program.name();
        println!("{name}: {bits} bits + {pairs} pairs = {caught} caught + {equal} proved, too");
        found.iter().for_each(|(what, _)| println!("    {what}"));
        if options.run {
            wrong.extend(misbehaving(program, proof, &found)?);
        }
    }
    let (count, wrong) = (wrong.len(), wrong.join("\n"));
    ensure!(count == 0, "{count} misbehave:\n{wrong}");
    Ok(())
}
