//! Proves the contract of all programs, and says what that took; with `--flips`, flips each bit of
//! theirs as well, and lists which flipped programs are proved, too.

use anyhow::{Context, Result};
use proof::{
    Program,
    flips::{describe, flips},
};
use std::time::Instant;

fn main() -> Result<()> {
    let with_flips = std::env::args().skip(1).any(|it| it == "--flips");
    for program in Program::all()? {
        let (name, report) = (program.name(), program.prove());
        let report = report.with_context(|| format!("{name} does not keep the contract"))?;
        let (paths, questions) = (report.paths, report.questions);
        let seconds = report.time.as_secs_f64();
        println!("{name:16} {paths:3} paths  {questions:4} questions  {seconds:.1} s");
        if with_flips {
            let start = Instant::now();
            let (bits, flips) = flips(&program, 1)?;
            let (equal, seconds) = (flips.len(), start.elapsed().as_secs());
            let caught = bits - equal;
            println!("  {bits} bits flipped = {caught} caught + {equal} proved, too ({seconds} s)");
            for bit in flips {
                println!("    {}", describe(&program, &report, bit));
            }
        }
    }
    Ok(())
}
