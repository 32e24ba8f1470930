//! The whole file, byte by byte, with what each is for.

use crate::{
    Program, Report, contract,
    elf::{self, Field},
};
use addr2line::Loader;
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol};
use std::{fs, path::Path};

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
    let mut listing = Listing {
        text: format!(
            "pause for linux/{}, all of its {} bytes. `make audit` writes this.\n",
            platform.name,
            file.len()
        ),
    };
    for field in elf::fields(platform, file.len()) {
        match (field.name, field.value) {
            ("EI_MAG", _) => listing.title("ELF header (elf(5))"),
            ("p_type", 1) => listing.title("Program header: the segment, which is the whole file"),
            ("p_type", _) => listing.title("Program header: the stack is not executable"),
            _ => {}
        }
        let name = meaning(program, &field);
        let what = format!("{:14} {:<#8x} {name}", field.name, field.value);
        listing.line(field.place.start, &file[field.place], what.trim_end());
    }
    let messages = messages(file)?;
    let mut at = code;
    while at < messages {
        // Thumb's symbols are odd.
        let symbol = object
            .symbols()
            .find(|it| it.is_global() && it.address() & !1 == at as u64);
        if let Some(symbol) = symbol.filter(|it| matches!(it.name(), Ok("_start" | "run"))) {
            listing.title(&format!("Code: {}", symbol.name()?));
        }
        let (length, what) = match report.instructions.get(&(at as i64)) {
            Some(it) => (
                it.length as usize,
                format!("{:36} {}", it.text(), source(&lines, at as u64)?),
            ),
            None => {
                let is_read = report.read.contains(&(at as i64));
                let next = (at..messages).find(|next| {
                    let next = *next as i64;
                    report.instructions.contains_key(&next)
                        || report.read.contains(&next) != is_read
                });
                let what = if is_read {
                    "numbers that the code reads"
                } else {
                    "of no use: aligns what follows, or ends the code"
                };
                (next.unwrap_or(messages) - at, what.to_owned())
            }
        };
        listing.line(at, &file[at..at + length], what.trim_end());
        at += length;
    }
    listing.title("Messages");
    for message in file[at..].split_inclusive(|byte| *byte == b'\n') {
        listing.line(
            at,
            message,
            &format!("{:?}", String::from_utf8_lossy(message)),
        );
        at += message.len();
    }
    Ok(listing.text)
}

/// Where the first message begins.
fn messages(file: &[u8]) -> Result<usize> {
    let first = contract::LINES[1].1.as_bytes();
    let found = file.windows(first.len()).position(|it| it == first);
    found.context("the messages are not in the file")
}

struct Listing {
    text: String,
}

impl Listing {
    fn title(&mut self, title: &str) {
        self.text += &format!("\n{title}\n\n");
    }

    /// One line, or more where there are many bytes; what they are for on the first.
    fn line(&mut self, offset: usize, bytes: &[u8], what: &str) {
        for (row, bytes) in bytes.chunks(WIDTH).enumerate() {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let what = if row == 0 { what } else { "" };
            let line = format!("{:04x}  {:36} {what}", offset + row * WIDTH, hex.join(" "));
            self.text += line.trim_end();
            self.text.push('\n');
        }
    }
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
        let (Some(file), Some(line)) = (location.file, location.line) else {
            continue;
        };
        let Some((_, ours)) = file
            .rsplit_once("/src/")
            .filter(|(_, it)| *it == "main.rs" || it.starts_with("arch/"))
        else {
            continue;
        };
        let function = function.demangle()?;
        let function = function.rsplit("::").next().unwrap_or_default();
        if outer.is_empty() && function != "run" {
            function.clone_into(&mut inner);
        }
        outer = format!("{}:{line}", ours);
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
