//! Flipped bits: the proof fails, or proves the new program as well. Then it is an equal one, and behaves
//! like one.

use crate::{Program, Prover, Report};
use anyhow::{Result, ensure};
use itertools::{Itertools, iproduct};
use std::{
    fs::{self, Permissions},
    iter::zip,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// Bits of a file: each byte's offset, and the bit's number, 0 the lowest.
type Bits = Vec<(usize, usize)>;
/// A program that is proved, too: `0x95.3 mov r2, r0 -> mov r2, r8`, and its file.
type Equal = (String, Vec<u8>);

fn flip(file: &[u8], bits: &Bits) -> Vec<u8> {
    let mut flipped = file.to_vec();
    bits.iter().for_each(|(at, bit)| flipped[*at] ^= 1 << bit);
    flipped
}

/// One of so many bits, and pairs of bits of one instruction, the same each time.
fn choose(program: &Program, report: &Report, every: usize, pairs: usize) -> Vec<Bits> {
    let bits = iproduct!(0..program.bytes.len(), 0..8).step_by(every);
    let mut random = fastrand::Rng::with_seed(0);
    let instructions: Vec<_> = report.instructions.values().collect();
    let pairs = (0..pairs).map(|_| {
        let it = instructions[random.usize(..instructions.len())];
        let bits = random
            .choose_multiple(0..8 * it.length as usize, 2)
            .into_iter();
        bits.map(|bit| (it.at as usize + bit / 8, bit % 8))
            .collect()
    });
    bits.map(|bit| vec![bit]).chain(pairs).collect()
}

/// Those that make a program which is proved as well.
fn equal(program: &Program, report: &Report, all: &[Bits]) -> Result<Vec<Equal>> {
    let mut prover = Prover::new(program.platform)?;
    let files: Vec<_> = all.iter().map(|bits| flip(&program.bytes, bits)).collect();
    let was = |bits: &Bits| report.instruction_around(bits[0].0);
    // An instruction may become a shorter one, and others after it.
    let places = zip(&files, all).filter_map(|(file, bits)| Some((&**file, was(bits)?.at)));
    let places = places.flat_map(|(file, at)| (at..at + 8).map(move |at| (file, at)));
    prover.decoder.learn(places)?;
    let mut found = Vec::new();
    for (file, bits) in zip(files, all) {
        if prover.prove(&file).is_ok() {
            let (name, kind) = (&program.name, report.kind(bits[0].0));
            let places = bits
                .iter()
                .map(|(at, bit)| format!("{at:#x}.{bit}"))
                .join(" ");
            let may_be = ["code", "filler"].contains(&kind);
            ensure!(
                may_be,
                "{name}: {places} may be another, and is of the {kind}"
            );
            let what = match was(bits) {
                Some(was) => format!(
                    "{} -> {}",
                    was.text,
                    prover.decoder.read(&file, was.at)?.text
                ),
                None => "read by nothing".to_owned(),
            };
            found.push((format!("{places}  {what}"), file));
        }
    }
    Ok(found)
}

/// Runs the files by `proof run`, and returns what is wrong with those that misbehave.
fn misbehaving(
    program: &Program,
    proof: &Path,
    files: &[(&String, PathBuf)],
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (what, path) in files {
        let mut run = Command::new(proof);
        run.args(["run", program.platform.name])
            .arg(path)
            .env_remove("RUST_BACKTRACE");
        let run = run.output()?;
        if !run.status.success() {
            let errors = String::from_utf8_lossy(&run.stderr).replace('\n', " ");
            found.push(format!("{}: {what}: {errors}", program.name));
        }
    }
    Ok(found)
}

/// Works on both halves at once.
fn halves<T: Sync, R: Send>(
    all: &[T],
    work: impl Fn(&[T]) -> Result<Vec<R>> + Sync,
) -> Result<Vec<R>> {
    let (some, others) = all.split_at(all.len() / 2);
    thread::scope(|scope| {
        let others = scope.spawn(|| work(others));
        let mut done = work(some)?;
        done.extend(others.join().expect("it does not panic")?);
        Ok(done)
    })
}

/// Flips one of so many bits of each program, and pairs of bits, and prints those that make an equal
/// program. Runs these by the command `proof`, if it is given.
///
/// # Errors
///
/// A header or a text may be another, too many bits make an equal program, or one of these misbehaves.
pub fn check(
    proved: &[(Program, Report)],
    every: usize,
    pairs: usize,
    proof: Option<&Path>,
) -> Result<()> {
    let mut wrong = Vec::new();
    for (program, report) in proved {
        let (name, all) = (&program.name, choose(program, report, every, pairs));
        let found = halves(&all, |some| equal(program, report, some))?;
        let (equal, bits) = (found.len(), all.len() - pairs);
        let caught = all.len() - equal;
        println!("{name}: {bits} bits + {pairs} pairs = {caught} caught + {equal} proved, too");
        found.iter().for_each(|(what, _)| println!("    {what}"));
        // A processor looks at most bits of an instruction.
        ensure!(equal * 8 < caught, "{name}: too many are proved, too");
        if let Some(proof) = proof {
            let directory = tempfile::tempdir()?;
            // Written before anything runs: a file that a child holds open cannot be executed.
            let mut files = Vec::new();
            for (index, (what, file)) in found.iter().enumerate() {
                let path = directory.path().join(index.to_string());
                fs::write(&path, file)?;
                fs::set_permissions(&path, Permissions::from_mode(0o755))?;
                files.push((what, path));
            }
            wrong.extend(halves(&files, |some| misbehaving(program, proof, some))?);
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} misbehave:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}
