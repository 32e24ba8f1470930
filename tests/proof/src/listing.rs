//! The whole file, byte by byte, with what each is for.

use crate::{Program, Report, contract, elf};
use addr2line::Loader;
use anyhow::{Context, Result, ensure};
use itertools::Itertools;
use object::{Object, ObjectSection, ObjectSymbol};
use std::{fs, path::Path};

const SEGMENT: &str = "Program header: the segment, which is the whole file";
/// Bytes on a line.
const WIDTH: usize = 12;

/// Lists the file: fields of its headers by name, instructions with the symbol and the line of the
/// source that they are from, and messages. `unstripped` is a build of the same code, with symbols
/// and lines.
pub fn list(program: &Program, report: &Report, unstripped: &Path) -> Result<String> {
    let (platform, file) = (program.platform, &program.bytes);
    let bytes = fs::read(unstripped).with_context(|| unstripped.display().to_string())?;
    let object = object::File::parse(&*bytes)?;
    let text = object.section_by_name(".text").context("no .text")?;
    let code = elf::code(platform);
    ensure!(
        text.data()? == &file[code..] && text.address() == code as u64,
        "{} is not what ships as {}",
        unstripped.display(),
        program.name()
    );
    let lines = Loader::new(unstripped).map_err(|error| anyhow::anyhow!("{error}"))?;
    let (name, size) = (platform.name, file.len());
    let mut listing =
        format!("pause for linux/{name}, all of its {size} bytes. `make audit` writes this.\n");
    let title = |listing: &mut String, title: &str| *listing += &format!("\n{title}\n\n");
    for (name, place, value, what) in elf::fields(platform, size) {
        match (name, value) {
            ("EI_MAG", _) => title(&mut listing, "ELF header (elf(5))"),
            ("p_type", 1) => title(&mut listing, SEGMENT),
            ("p_type", _) => title(&mut listing, "Program header: the stack is not executable"),
            _ => {}
        }
        let what = format!("{name:14} {value:<#8x} {what}");
        listing += &line(place.start, &file[place], &what);
    }
    let messages = messages(file)?;
    let is_read = |at: usize| report.read.contains(&(at as i64));
    let what = |at: usize| match report.instruction_around(at) {
        Some(it) => Ok((
            it.at,
            format!("{:36} {}", it.text, source(&lines, it.at as u64)?),
        )),
        None if is_read(at) => Ok((0, "numbers that the code reads".to_owned())),
        None => Ok((
            0,
            "of no use: aligns what follows, or ends the code".to_owned(),
        )),
    };
    let whats: Result<Vec<_>> = (code..messages).map(what).collect();
    let mut at = code;
    for (size, (_, what)) in whats?.into_iter().dedup_with_count() {
        // Thumb's symbols are odd.
        let mut symbols = object.symbols().filter(|it| it.is_global());
        let symbol = symbols.find(|it| it.address() & !1 == at as u64);
        if let Some(Ok(name @ ("_start" | "run"))) = symbol.map(|it| it.name()) {
            title(&mut listing, &format!("Code: {name}"));
        }
        listing += &line(at, &file[at..at + size], &what);
        at += size;
    }
    title(&mut listing, "Messages");
    for message in file[at..].split_inclusive(|byte| *byte == b'\n') {
        let text = format!("{:?}", String::from_utf8_lossy(message));
        listing += &line(at, message, &text);
        at += message.len();
    }
    Ok(listing)
}

/// Where the first message begins.
fn messages(file: &[u8]) -> Result<usize> {
    let first = contract::LINES[1].1.as_bytes();
    let found = file.windows(first.len()).position(|it| it == first);
    found.context("the messages are not in the file")
}

/// One line, or more where there are many bytes; what they are for on the first.
fn line(offset: usize, bytes: &[u8], what: &str) -> String {
    let mut lines = String::new();
    for (row, bytes) in bytes.chunks(WIDTH).enumerate() {
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).join(" ");
        let what = if row == 0 { what } else { "" };
        let line = format!("{:04x}  {hex:36} {what}", offset + row * WIDTH);
        lines += &format!("{}\n", line.trim_end());
    }
    lines
}

/// The line of `run` that an instruction is from, and the function of ours that was inlined there.
fn source(lines: &Loader, address: u64) -> Result<String> {
    let failed = |error| anyhow::anyhow!("lines: {error}");
    let mut frames = lines.find_frames(address).map_err(failed)?;
    let (mut inner, mut outer) = (String::new(), String::new());
    while let Some(frame) = frames.next()? {
        let (Some(location), Some(function)) = (frame.location, frame.function) else {
            continue;
        };
        let ours = location.file.and_then(|it| it.rsplit_once("/src/"));
        let ours = ours.filter(|(_, it)| *it == "main.rs" || it.starts_with("arch/"));
        if let (Some((_, ours)), Some(line)) = (ours, location.line) {
            let function = function.demangle()?;
            let function = function.rsplit("::").next().unwrap_or_default();
            if outer.is_empty() && function != "run" {
                function.clone_into(&mut inner);
            }
            outer = format!("{ours}:{line}");
        }
    }
    Ok(format!("{outer:12} {inner}").trim_end().to_owned())
}
