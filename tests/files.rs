//! The files that ship are small, and valid for those who look at ELF files. The proof accounts for each byte.

use sandbox::{
    output,
    program::{Program, VERSION_LENGTH},
};
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
    let path = &program.path;
    let lint = output(Command::new("eu-elflint").arg("--strict").arg(path));
    assert_eq!(lint, "No errors\n");
    let readelf = Command::new("readelf").arg("-aW").arg(path).output();
    let readelf = readelf.unwrap();
    // readelf 2.40 exits with 1, without a message, on an arm file without unwind sections.
    let fails = program.platform.arch == "arm" && readelf.status.code() == Some(1);
    let is_quiet = (readelf.status.success() || fails) && readelf.stderr.is_empty();
    assert!(is_quiet, "{readelf:?}");
    let file = output(Command::new("file").arg("--brief").arg(path));
    let is_static = file.contains("pie executable") && file.contains("statically linked");
    assert!(is_static, "{file}");
}
