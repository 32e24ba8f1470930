//! The whole file, byte by byte, with what each byte is for.

use crate::{Program, Report, compare, contract, elf};
use addr2line::Loader;
use anyhow::{Context, Result, anyhow, ensure};
use itertools::Itertools;
use object::{Object, ObjectSection, ObjectSymbol};
use sandbox::built;
use std::{collections::BTreeMap, fs};

/// Bytes on a line.
const WIDTH: usize = 12;

/// Compares proof/listings with these programs, as far as they ship, or writes them.
///
/// # Errors
///
/// One is stale or cannot be written, or the build with symbols has other code.
pub fn check(proved: &[(Program, Report)], write: bool) -> Result<()> {
    for (program, report) in proved {
        let name = program.platform.name;
        if program.name == format!("pause/{name}") {
            let listing = list(program, report)?;
            compare(&format!("proof/listings/{name}.txt"), &listing, write)?;
        }
    }
    Ok(())
}

/// Lists the file: the fields of its headers by name, the instructions with the line of the source that
/// each is from, and the messages.
fn list(program: &Program, report: &Report) -> Result<String> {
    let symbols = &built(&program.name).join("pause.symbols");
    let (platform, file) = (program.platform, &program.bytes);
    let (path, name, size) = (symbols.display(), &program.name, file.len());
    let bytes = fs::read(symbols).with_context(|| path.to_string())?;
    let object = object::File::parse(&*bytes)?;
    let text = object.section_by_name(".text").context("no .text")?;
    let code = elf::code(platform);
    let is_same = text.data()? == &file[code..] && text.address() == code as u64;
    ensure!(is_same, "{path} is not what ships as {name}");
    let lines = Loader::new(symbols).map_err(|error| anyhow!("{path}: {error}"))?;
    let first = contract::LINES[1].1.as_bytes();
    let messages = file.windows(first.len()).position(|it| it == first);
    let messages = messages.context("the messages are not in the file")?;

    let mut titles = BTreeMap::from([(0, "ELF header (elf(5))".to_owned())]);
    let mut parts: Vec<(usize, String)> = Vec::new();
    for (name, place, value, what) in elf::fields(platform, size) {
        let title = match (name, value) {
            ("p_type", 1) => Some("Program header: the segment, which is the whole file"),
            ("p_type", _) => Some("Program header: the stack is not executable"),
            _ => None,
        };
        titles.extend(title.map(|it| (place.start, it.to_owned())));
        parts.push((place.len(), format!("{name:14} {value:<#8x} {what}")));
    }
    for symbol in object.symbols() {
        if let Ok(name @ ("_start" | "run")) = symbol.name() {
            // Thumb's symbols are odd.
            let address = symbol.address() as usize & !1;
            titles.insert(address, format!("Code: {name}"));
        }
    }
    let what = |at: usize| match report.instruction_around(at) {
        Some(it) => Ok((
            it.at,
            format!("{:36} {}", it.text, source(&lines, it.at as u64)?),
        )),
        None if report.kind(at) == "read" => Ok((0, "numbers that the code reads".to_owned())),
        None => Ok((
            0,
            "of no use: aligns what follows, or ends the code".to_owned(),
        )),
    };
    let whats: Result<Vec<_>> = (code..messages).map(what).collect();
    let whats = whats?.into_iter().dedup_with_count();
    parts.extend(whats.map(|(size, (_, what))| (size, what)));
    titles.insert(messages, "Messages".to_owned());
    for message in file[messages..].split_inclusive(|byte| *byte == b'\n') {
        parts.push((
            message.len(),
            format!("{:?}", String::from_utf8_lossy(message)),
        ));
    }

    let name = platform.name;
    let mut listing =
        format!("pause for linux/{name}, all of its {size} bytes. `make listings` writes this.\n");
    let mut at = 0;
    for (size, what) in parts {
        if let Some(title) = titles.get(&at) {
            listing += &format!("\n{title}\n\n");
        }
        // On the first of its lines.
        let mut what = &*what;
        for bytes in file[at..at + size].chunks(WIDTH) {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).join(" ");
            let line = format!("{at:04x}  {hex:36} {what}");
            listing += &format!("{}\n", line.trim_end());
            (at, what) = (at + bytes.len(), "");
        }
    }
    Ok(listing)
}

/// The line of `run` that an instruction is from, and the function of ours that was inlined there.
fn source(lines: &Loader, address: u64) -> Result<String> {
    let failed = |error| anyhow!("lines: {error}");
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
