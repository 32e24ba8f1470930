//! The whole file, byte by byte, with what each is for.

use crate::{
    Program, Report, contract,
    elf::{self, Field},
};
use addr2line::Loader;
use anyhow::{Context, Result, ensure};
use itertools::Itertools;
use object::{Object, ObjectSection, ObjectSymbol};
use std::{fs, path::Path};

const SEGMENT: &str = "Program header: the segment, which is the whole file";
/// Bytes on a line.
const WIDTH: usize = 12;

/// Lists the file: fields of its headers by name, instructions with the symbol and the line of the
/// source that they are from, and messages.
///
/// # Errors
///
/// `unstripped` has to be a build of the same code, with symbols and lines.
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
    for field in elf::fields(platform, size) {
        match (field.name, field.value) {
            ("EI_MAG", _) => title(&mut listing, "ELF header (elf(5))"),
            ("p_type", 1) => title(&mut listing, SEGMENT),
            ("p_type", _) => title(&mut listing, "Program header: the stack is not executable"),
            _ => {}
        }
        let what = meaning(program, &field);
        let what = format!("{:14} {:<#8x} {what}", field.name, field.value);
        listing += &line(field.place.start, &file[field.place], &what);
    }
    let messages = messages(file)?;
    let is_read = |at: usize| report.read.contains(&(at as i64));
    let mut at = code;
    while at < messages {
        // Thumb's symbols are odd.
        let mut symbols = object.symbols().filter(|it| it.is_global());
        let symbol = symbols.find(|it| it.address() & !1 == at as u64);
        if let Some(Ok(name @ ("_start" | "run"))) = symbol.map(|it| it.name()) {
            title(&mut listing, &format!("Code: {name}"));
        }
        let (end, what) = match report.instructions.get(&(at as i64)) {
            Some(it) => {
                let source = source(&lines, at as u64)?;
                (at + it.length as usize, format!("{:36} {source}", it.text))
            }
            None => {
                let is_other = |next: &usize| {
                    report.instruction_around(*next).is_some() || is_read(*next) != is_read(at)
                };
                let what = match is_read(at) {
                    true => "numbers that the code reads",
                    false => "of no use: aligns what follows, or ends the code",
                };
                let end = (at..messages).find(is_other).unwrap_or(messages);
                (end, what.to_owned())
            }
        };
        listing += &line(at, &file[at..end], &what);
        at = end;
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

/// What a field says, as elf(5) calls it.
fn meaning<'a>(program: &'a Program, field: &Field) -> &'a str {
    match (field.name, field.value) {
        ("EI_CLASS", 1) => "ELFCLASS32",
        ("EI_CLASS", 2) => "ELFCLASS64",
        ("EI_DATA", 1) => "ELFDATA2LSB",
        ("EI_DATA", 2) => "ELFDATA2MSB",
        ("EI_OSABI", 0) => "ELFOSABI_NONE",
        ("e_type", 3) => "ET_DYN: may lie anywhere",
        ("e_machine", _) => program.platform.name,
        ("e_entry", _) => "_start",
        ("p_type", 1) => "PT_LOAD",
        ("p_type", _) => "PT_GNU_STACK",
        ("p_flags", 5) => "PF_R | PF_X",
        ("p_flags", 6) => "PF_R | PF_W",
        _ => "",
    }
}
