//! The whole file, byte by byte, with what each byte is for.

use crate::{Program, Report, compare, contract, elf};
use addr2line::Loader;
use anyhow::{Context, Result, anyhow, ensure};
use itertools::Itertools;
use object::{Object, ObjectSection, ObjectSymbol};
use std::{collections::BTreeMap, fs};

/// Bytes on a line.
const WIDTH: usize = 12;

/// Compares proof/listings with these programs, as far as they ship, or writes them.
pub fn check(proved: &[(Program, Report)], write: bool) -> Result<()> {
    for (program, report) in proved {
        let name = program.platform.name;
        if program.name() == format!("pause/{name}/pause") {
            let listing = list(program, report)?;
            compare(&format!("proof/listings/{name}.txt"), &listing, write)?;
        }
    }
    Ok(())
}

/// Lists the file: the fields of its headers by name, the instructions with the line of the source that
/// each is from, and the messages.
fn list(program: &Program, report: &Report) -> Result<String> {
    let symbols = &program.path.with_extension("symbols");
    let (platform, file) = (program.platform, &program.bytes);
    let (path, name, size) = (symbols.display(), &program.name(), file.len());
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

    // Titles and parts, by where they begin.
    let mut titles = BTreeMap::from([(0, "ELF header (elf(5))".to_owned())]);
    titles.insert(messages, "Messages".to_owned());
    let mut parts = BTreeMap::new();
    for (name, place, value, what) in elf::fields(platform, size) {
        if name == "p_type" {
            let is = [
                "the stack is not executable",
                "the segment, which is the whole file",
            ];
            let is = is[usize::from(value == 1)];
            titles.insert(place.start, format!("Program header: {is}"));
        }
        parts.insert(place.start, format!("{name:14} {value:<#8x} {what}"));
    }
    for symbol in object.symbols() {
        if let Ok(name @ ("_start" | "entry")) = symbol.name() {
            // Thumb's symbols are odd.
            let address = symbol.address() as usize & !1;
            titles.insert(address, format!("Code: {name}"));
        }
    }
    for it in report.instructions.values() {
        let source = source(&lines, it.at as u64)?;
        parts.insert(it.at as usize, format!("{:36} {source}", it.text));
    }
    for at in (code..messages).filter(|at| report.kinds[*at] != report.kinds[at - 1]) {
        let what = match report.kinds[at] {
            "code" => continue,
            "read" => "numbers that the code reads",
            _ => "of no use: aligns what follows, or ends the code",
        };
        parts.insert(at, what.to_owned());
    }
    let mut at = messages;
    for message in file[messages..].split_inclusive(|byte| *byte == b'\n') {
        parts.insert(at, format!("{:?}", String::from_utf8_lossy(message)));
        at += message.len();
    }

    let name = platform.name;
    let mut listing =
        format!("pause for linux/{name}, all of its {size} bytes. `make listings` writes this.\n");
    let ends = parts.keys().skip(1).chain([&size]);
    for ((start, what), end) in parts.iter().zip(ends) {
        if let Some(title) = titles.get(start) {
            listing += &format!("\n{title}\n\n");
        }
        let lines = (*start..*end).step_by(WIDTH);
        for (at, bytes) in lines.zip(file[*start..*end].chunks(WIDTH)) {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).join(" ");
            // On the first of its lines.
            let what = if at == *start { what } else { "" };
            let line = format!("{at:04x}  {hex:36} {what}");
            listing += &format!("{}\n", line.trim_end());
        }
    }
    Ok(listing)
}

/// The line of `entry` that an instruction is from, and the function of ours that was inlined there.
fn source(lines: &Loader, address: u64) -> Result<String> {
    let failed = |error| anyhow!("lines: {error}");
    let mut frames = lines.find_frames(address).map_err(failed)?;
    let mut ours = Vec::new();
    while let Some(frame) = frames.next()? {
        if let (Some(location), Some(function)) = (frame.location, frame.function)
            && let (Some(file), Some(line)) = (location.file, location.line)
            && let Some((_, file)) = file.rsplit_once("/src/")
            && (file == "main.rs" || file.starts_with("arch/"))
        {
            let function = function.demangle()?.into_owned();
            let name = function.rsplit("::").next().unwrap_or_default();
            ours.push((format!("{file}:{line}"), name.to_owned()));
        }
    }
    let (outer, inner) = (ours.last(), ours.first().filter(|it| it.1 != "entry"));
    let (outer, inner) = (outer.map_or("", |it| &it.0), inner.map_or("", |it| &it.1));
    Ok(format!("{outer:12} {inner}").trim_end().to_owned())
}
