//! What an assembler writes for an instruction: rustc's, which is LLVM's. An instruction counts only in
//! that encoding. So no reserved bit is set, and no encoding is taken that only capstone reads as one.

use super::{Instruction, number, regex};
use crate::{platform::Platform, term::Term};
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection};
use regex::Regex;
use sandbox::built;
use std::{
    collections::BTreeSet,
    fs,
    iter::zip,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// How far apart instructions are written, in bytes, and the lines of assembly for each.
const SLOT: usize = 32;
const LINES: usize = 3;

/// The line of an error in assembly, the first being 1.
static LINE: LazyLock<Regex> = LazyLock::new(|| regex("<inline asm>:([0-9]+):"));
static REGISTER: LazyLock<Regex> = LazyLock::new(|| regex(r"\br([0-9]+)"));
static SWAPPED: LazyLock<Regex> = LazyLock::new(|| regex("^xchg (.*), (.*)"));

/// An instruction as the assembler reads it, after the label `here`.
fn line(platform: &Platform, it: &Instruction, here: &str) -> String {
    let (start, to) = it.text.split_at(it.text.rfind([' ', '#']).unwrap_or(0) + 1);
    let is_place = |it: &String| it.contains(&format!("file + {to} "));
    let text = match number(to) {
        Ok(to) if it.meaning.as_ref().is_some_and(is_place) => {
            let by = Term::number(to - it.at, platform.bits()).known_signed();
            match by.unwrap_or_default() {
                // A number is relative to what Thumb takes for the instruction's address.
                by if platform.is_thumb() => format!("{start}{}", by - 4),
                by => format!("{start}{here} + {by}"),
            }
        }
        _ => it.text.clone(),
    };
    match platform.name {
        "ppc64le" => REGISTER.replace_all(&text, "$1").into_owned(),
        // Swapped it means the same.
        "386" | "amd64" => SWAPPED.replace(&text, "xchg $2, $1").into_owned(),
        "riscv64" if text.starts_with("c.") => format!(".option rvc; {text}"),
        "riscv64" => format!(".option norvc; {text}"),
        _ => text,
    }
}

/// The library that make built last of a crate of std's, for a target that rustc lacks.
fn newest(deps: &Path, name: &str) -> Option<PathBuf> {
    let files = fs::read_dir(deps).ok()?.filter_map(|it| it.ok());
    let start = format!("lib{name}-");
    let these = files.filter(|it| it.file_name().to_string_lossy().starts_with(&start));
    let last = these.max_by_key(|it| it.metadata().and_then(|it| it.modified()).ok());
    last.map(|it| it.path())
}

/// Whether the assembler writes each in these bytes.
pub fn assemble(platform: &Platform, these: &[&Instruction]) -> Result<Vec<bool>> {
    let directory = tempfile::tempdir()?;
    let [file, made] = ["lib.rs", "made.o"].map(|it| directory.path().join(it));
    let deps = built(&format!("{}/release/deps", platform.triple));
    let names = ["core", "compiler_builtins"].into_iter();
    let externs = names.filter_map(|name| Some((name, newest(&deps, name)?)));
    let externs = externs.map(|(name, file)| format!("--extern={name}={}", file.display()));
    let externs: Vec<_> = externs.collect();
    let mut refused = BTreeSet::new();
    loop {
        let mut source = "#![no_std]\ncore::arch::global_asm!(r#\"".to_owned();
        for (index, it) in these.iter().enumerate() {
            let here = format!("at{index}");
            let line = line(platform, it, &here);
            let line = if refused.contains(&index) { "" } else { &line };
            source += &format!(".org {}\n{here}:\n{line}\n", SLOT * index);
        }
        source += &format!(".org {}\"#, options(raw));", SLOT * these.len());
        fs::write(&file, source)?;
        let mut rustc = Command::new("rustc");
        rustc.args(["--crate-type=lib", "--emit=obj", "--target"]);
        rustc.arg(platform.triple).arg("-o").args([&made, &file]);
        rustc.args(&externs);
        let run = rustc.current_dir(sandbox::project()).output();
        let run = run.context("rustc")?;
        if run.status.success() {
            let object = fs::read(made)?;
            let object = object::File::parse(&*object)?;
            let text = object.section_by_name(".text").context("no .text")?;
            let slots = zip(these, text.data()?.chunks(SLOT)).enumerate();
            let is_same = slots.map(|(index, (it, slot))| {
                let (written, rest) = slot.split_at(it.bytes.len());
                let is_alone = rest.iter().all(|it| *it == 0);
                written == it.bytes && is_alone && !refused.contains(&index)
            });
            return Ok(is_same.collect());
        }
        let (errors, before) = (String::from_utf8_lossy(&run.stderr), refused.len());
        for line in LINE.captures_iter(&errors) {
            refused.insert((line[1].parse::<usize>()? - 1) / LINES);
        }
        ensure!(refused.len() > before, "rustc: {errors}");
    }
}
