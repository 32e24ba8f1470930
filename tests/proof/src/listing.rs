//! The whole file, byte by byte, with what each is for.

use crate::{Arch, Binary, code, elf};
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
pub fn list(binary: &Binary, unstripped: &Path) -> Result<String> {
    let bytes = fs::read(unstripped).with_context(|| unstripped.display().to_string())?;
    let object = object::File::parse(&*bytes)?;
    let text = object.section_by_name(".text").context("no .text")?;
    ensure!(
        text.data()? == &binary.bytes[elf::CODE..] && text.address() == elf::CODE as u64,
        "{} is not what ships as {}",
        unstripped.display(),
        binary.path.display()
    );
    let lines = Loader::new(unstripped).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut listing = Listing {
        text: String::new(),
    };

    let size = binary.bytes.len();
    listing.text = format!(
        "pause for {}, all of its {size} bytes. `make audit` writes this.\n",
        match binary.arch {
            Arch::Amd64 => "linux/amd64",
            Arch::Arm64 => "linux/arm64",
        }
    );
    for field in elf::fields() {
        match &*field.name {
            "EI_MAG" => listing.title("ELF header (elf(5))"),
            "PT_LOAD p_type" => {
                listing.title("Program header: the segment, which is the whole file")
            }
            "PT_GNU_STACK p_type" => listing.title("Program header: the stack is not executable"),
            _ => {}
        }
        let field_bytes = &binary.bytes[field.place.clone()];
        let name = field.name.rsplit(' ').next().unwrap();
        let what = format!("{name:14} {}", meaning(&field.name, field_bytes));
        listing.line(field.place.start, field_bytes, what.trim_end());
    }
    for instruction in code::instructions(binary) {
        let start = instruction.place.start as u64;
        let symbol = object
            .symbols()
            .find(|it| it.address() == start && it.is_global());
        if let Some(symbol) = symbol {
            listing.title(&format!("Code: {}", symbol.name()?));
        }
        let source = source(&lines, start)?;
        let what = format!("{:36} {source}", instruction.text);
        listing.line(
            start as usize,
            &binary.bytes[instruction.place],
            what.trim_end(),
        );
    }
    listing.title("Messages");
    let mut start = code::end(&binary.bytes);
    while let Some(length) = binary.bytes[start..].iter().position(|byte| *byte == b'\n') {
        let message = &binary.bytes[start..=start + length];
        listing.line(
            start,
            message,
            &format!("{:?}", String::from_utf8_lossy(message)),
        );
        start += message.len();
    }
    ensure!(start == size, "there is something behind the messages");
    Ok(listing.text)
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
        let sources = [
            "/src/main.rs",
            "/src/arch/x86_64.rs",
            "/src/arch/aarch64.rs",
        ];
        let Some(ours) = sources.iter().find(|it| file.ends_with(*it)) else {
            continue;
        };
        let function = function.demangle()?;
        let function = function.rsplit("::").next().unwrap_or_default();
        if outer.is_empty() && function != "run" {
            function.clone_into(&mut inner);
        }
        outer = format!("{}:{line}", &ours["/src/".len()..]);
    }
    Ok(format!("{outer:12} {inner}").trim_end().to_owned())
}

/// What a field says, as elf(5) calls it, or its number.
fn meaning(field: &str, bytes: &[u8]) -> String {
    let mut number = [0; 8];
    if bytes.len() > 8 || field == "EI_MAG" || field == "EI_PAD" {
        return String::new();
    }
    number[..bytes.len()].copy_from_slice(bytes);
    let number = u64::from_le_bytes(number);
    let name = match (field, number) {
        ("EI_CLASS", 2) => "ELFCLASS64",
        ("EI_DATA", 1) => "ELFDATA2LSB",
        ("EI_OSABI", 0) => "ELFOSABI_NONE",
        ("e_type", 3) => "ET_DYN: may lie anywhere",
        ("e_machine", 62) => "EM_X86_64",
        ("e_machine", 183) => "EM_AARCH64",
        ("e_entry", _) => "_start",
        ("PT_LOAD p_type", 1) => "PT_LOAD",
        ("PT_LOAD p_flags", 5) => "PF_R | PF_X",
        ("PT_GNU_STACK p_type", 0x6474_e551) => "PT_GNU_STACK",
        ("PT_GNU_STACK p_flags", 6) => "PF_R | PF_W",
        _ => "",
    };
    format!("{number:<#8x} {name}").trim_end().to_owned()
}
