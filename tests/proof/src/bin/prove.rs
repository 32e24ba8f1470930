//! Proves the contract of all programs, and says what that took.

use anyhow::{Context, Result};
use proof::Program;

fn main() -> Result<()> {
    for program in Program::all()? {
        let report = program.prove().with_context(|| format!("{} does not keep the contract", program.name()))?;
        println!(
            "{:16} {:3} paths  {:4} questions  {:.1} s",
            program.name(),
            report.paths,
            report.questions,
            report.time.as_secs_f64()
        );
    }
    Ok(())
}
