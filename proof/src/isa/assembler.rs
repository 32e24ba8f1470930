//! What an assembler writes for an instruction: rustc's, which is LLVM's. An instruction counts only in
//! that encoding. So no reserved bit is set, and no encoding is taken that only capstone reads as one.

use super::{Instruction, number, regex};
use crate::platform::Platform;
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection};
use regex::Regex;
use std::{
    collections::BTreeSet,
    fs,
    iter::zip,
    process::Command,
    sync::{Arc, LazyLock},
};

/// How far apart instructions are written, in bytes, and the lines of assembly for each.
const SLOT: usize = 32;
const LINES: usize = 4;

/// The line of an error in assembly, the first being 1.
static LINE: LazyLock<Regex> = LazyLock::new(|| regex("<inline asm>:([0-9]+):"));
static REGISTER: LazyLock<Regex> = LazyLock::new(|| regex(r"\br([0-9]+)"));
static SWAPPED: LazyLock<Regex> = LazyLock::new(|| regex("^xchg (.*), (.*)"));

/// An instruction as the assembler reads it, after the label `here`.
fn line(platform: &Platform, it: &Instruction, here: &str) -> String {
    let (start, to) = it.text.split_at(it.text.rfind([' ', '#']).unwrap_or(0) + 1);
    let is_place = |it: &String| it.contains(&format!("file + {to} "));
    let text = match number(to) {
        Ok(to) if it.meaning.as_ref().is_some_and(is_place) => match to - it.at {
            by if platform.is_32_bit && !platform.is_thumb() => {
                format!("{start}{here} + {}", by as i32)
            }
            // A number is relative to what Thumb takes for the instruction's address.
            by if platform.is_thumb() => format!("{start}{}", by - 4),
            by => format!("{start}{here} + {by}"),
        },
        _ => it.text.clone(),
    };
    match platform.name {
        "ppc64le" => REGISTER.replace_all(&text, "$1").into_owned(),
        // Swapped it means the same.
        "386" | "amd64" => SWAPPED.replace(&text, "xchg $2, $1").into_owned(),
        _ => text,
    }
}

/// Whether the assembler writes each in these bytes.
pub fn assemble(platform: &Platform, these: &[Arc<Instruction>]) -> Result<Vec<bool>> {
    let mut refused = BTreeSet::new();
    loop {
        let mut source = String::new();
        for (index, it) in these.iter().enumerate() {
            let here = format!("at{index}");
            let option = match platform.name {
                "riscv64" if it.text.starts_with("c.") => ".option rvc",
                "riscv64" => ".option norvc",
                _ => "",
            };
            let line = line(platform, it, &here);
            let line = if refused.contains(&index) { "" } else { &line };
            source += &format!(".org {}\n{here}:\n{option}\n{line}\n", SLOT * index);
        }
        let source = format!(
            "#![no_std]\ncore::arch::global_asm!(r#\"{source}.org {}\"#, options(raw));",
            SLOT * these.len()
        );
        let directory = tempfile::tempdir()?;
        let [file, made] = ["lib.rs", "made.o"].map(|it| directory.path().join(it));
        fs::write(&file, source)?;
        let mut rustc = Command::new("rustc");
        rustc.args([
            "--crate-type=lib",
            "--emit=obj",
            "--target",
            platform.triple,
            "-o",
        ]);
        rustc.args([&made, &file]).current_dir(sandbox::project());
        let run = rustc.output().context("rustc")?;
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
        let errors = String::from_utf8_lossy(&run.stderr);
        let lines = LINE.captures_iter(&errors).map(|it| it[1].parse::<usize>());
        let before = refused.len();
        for line in lines {
            refused.insert((line? - 1) / LINES);
        }
        ensure!(refused.len() > before, "rustc: {errors}");
    }
}
