//! The files that ship are small, and valid for those who look at ELF files. The proof accounts for each byte.

use sandbox::program::{Program, VERSION_LENGTH};
use std::{fs, process::Command};

promises!(is_small, is_valid);

/// The limit is for code and texts: a version longer than 0.1.0 may add its extra bytes.
fn is_small(program: &Program) {
    let size = fs::metadata(&program.path).unwrap().len();
    let size = size + VERSION_LENGTH - env!("CARGO_PKG_VERSION").len() as u64;
    let goal = program.platform.goal;
    assert!(size <= goal, "{size} bytes; the goal is {goal}");
}

fn is_valid(program: &Program) {
    let mut lint = Command::new("eu-elflint");
    let printed = lint.arg("--strict").arg(&program.path).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    // elfutils 0.188 does not know loong64.
    let unknown = "unknown machine type 258\ninvalid machine flags: 0x43\n";
    let is_unknown = program.platform.arch == "loong64" && printed == unknown;
    assert!(is_unknown || printed == "No errors\n", "{printed}");
}
