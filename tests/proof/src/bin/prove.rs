//! Proves the contract of all programs, and says what that took; with `--flips`, flips each bit of
//! theirs as well, and lists which flipped programs are proved, too.

use anyhow::{Context, Result};
use proof::{
    Program,
    flips::{describe, flips},
};

fn main() -> Result<()> {
    let with_flips = std::env::args().skip(1).any(|it| it == "--flips");
    for program in Program::all()? {
        let report = program
            .prove()
            .with_context(|| format!("{} does not keep the contract", program.name()))?;
        println!(
            "{:16} {:3} paths  {:4} questions  {:.1} s",
            program.name(),
            report.paths,
            report.questions,
            report.time.as_secs_f64()
        );
        if with_flips {
            let start = std::time::Instant::now();
            let flips = flips(&program, 1)?;
            let (caught, equal) = (flips.caught.len(), flips.equal.len());
            println!(
                "  {} bits flipped = {caught} caught + {equal} proved, too ({} s)",
                caught + equal,
                start.elapsed().as_secs()
            );
            for bit in flips.equal {
                println!("    {}", describe(&program, &report, bit));
            }
        }
    }
    Ok(())
}
