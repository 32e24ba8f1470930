//! Proves the contract of all programs, and says what that took.

use anyhow::{Context, Result};
use proof::Program;
use std::time::Instant;

fn main() -> Result<()> {
    for program in Program::all()? {
        let (name, start) = (program.name(), Instant::now());
        let report = program.prove();
        let report = report.with_context(|| format!("{name} does not keep the contract"))?;
        let (paths, questions) = (report.paths, report.questions);
        let seconds = start.elapsed().as_secs_f64();
        println!("{name:16} {paths:3} paths  {questions:4} questions  {seconds:.1} s");
    }
    Ok(())
}
