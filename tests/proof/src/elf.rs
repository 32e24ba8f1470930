//! The headers of the file: there is one number for each field.

use crate::platform::Platform;
use anyhow::{Context, Result, ensure};
use std::ops::Range;

/// A field of a header: its name as elf(5) has it, its place in the file, and what has to be there.
pub struct Field {
    pub name: &'static str,
    pub place: Range<usize>,
    pub value: u64,
}

/// The fields of the ELF header and of both program headers, in the order of the file. Behind them the
/// code begins, where the kernel enters.
pub fn fields(platform: &Platform, size: usize) -> Vec<Field> {
    let (word, is_short) = (platform.bytes() as usize, platform.bytes() == 4);
    let (header, segment) = if is_short { (52, 32) } else { (64, 56) };
    let (code, bytes) = (header + 2 * segment, size as u64);
    let is_big = platform.is_big_endian;
    // Thumb's addresses are odd.
    let entry = code + u64::from(platform.is_thumb());
    let mut all = vec![
        ("EI_MAG", 4, if is_big { 0x7f45_4c46 } else { 0x464c_457f }),
        ("EI_CLASS", 1, if is_short { 1 } else { 2 }),
        ("EI_DATA", 1, if is_big { 2 } else { 1 }),
        ("EI_VERSION", 1, 1),
        ("EI_OSABI", 1, 0),
        ("EI_ABIVERSION", 1, 0),
        ("EI_PAD", 7, 0),
        ("e_type", 2, 3),
        ("e_machine", 2, platform.machine),
        ("e_version", 4, 1),
        ("e_entry", word, entry),
        ("e_phoff", word, header),
        ("e_shoff", word, 0),
        ("e_flags", 4, platform.elf_flags),
        ("e_ehsize", 2, header),
        ("e_phentsize", 2, segment),
        ("e_phnum", 2, 2),
        ("e_shentsize", 2, 0),
        ("e_shnum", 2, 0),
        ("e_shstrndx", 2, 0),
    ];
    // The segment, which is the whole file; and that the stack is not executable.
    for (kind, flags, size, align) in [(1, 5, bytes, platform.page), (0x6474_e551, 6, 0, 0)] {
        let flags = ("p_flags", 4, flags);
        all.push(("p_type", 4, kind));
        all.extend((!is_short).then_some(flags));
        all.extend(["p_offset", "p_vaddr", "p_paddr"].map(|name| (name, word, 0)));
        all.extend(["p_filesz", "p_memsz"].map(|name| (name, word, size)));
        all.extend(is_short.then_some(flags));
        all.push(("p_align", word, align));
    }
    let mut end = 0;
    let place = |(name, size, value)| {
        end += size;
        let place = end - size..end;
        Field { name, place, value }
    };
    all.into_iter().map(place).collect()
}

/// Where the kernel enters, if all of it is as it has to be.
///
/// # Errors
///
/// The field that is not.
pub fn entry(platform: &Platform, file: &[u8]) -> Result<i64> {
    let mut entry = 0;
    for Field { name, place, value } in fields(platform, file.len()) {
        let bytes = file.get(place).with_context(|| format!("{name} is cut"))?;
        let number = platform.number(bytes);
        ensure!(number == value, "{name} is {number:#x}, not {value:#x}");
        if name == "e_entry" {
            entry = number as i64;
        }
    }
    Ok(entry)
}

/// Where the code begins.
pub fn code(platform: &Platform) -> usize {
    fields(platform, 0).last().map_or(0, |it| it.place.end)
}
