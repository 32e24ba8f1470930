//! The headers of the file: there is one number for each field.

use crate::platform::Platform;
use anyhow::{Context, Result, ensure};
use std::ops::Range;

/// A field of a header: its name as elf(5) has it, its place in the file, what has to be there, and
/// what that says.
pub type Field = (&'static str, Range<usize>, u64, &'static str);

/// The fields of the ELF header and of both program headers, in the order of the file. Behind them the
/// code begins, where the kernel enters.
pub fn fields(platform: &Platform, size: usize) -> Vec<Field> {
    let (word, is_short) = (platform.bytes() as usize, platform.bytes() == 4);
    let (header, segment) = if is_short { (52, 32) } else { (64, 56) };
    let (code, bytes) = (header + 2 * segment, size as u64);
    // Thumb's addresses are odd.
    let entry = code + u64::from(platform.is_thumb());
    let (magic, data, order) = match platform.is_big_endian {
        true => (0x7f45_4c46, 2, "ELFDATA2MSB"),
        false => (0x464c_457f, 1, "ELFDATA2LSB"),
    };
    let (class, width) = match is_short {
        true => (1, "ELFCLASS32"),
        false => (2, "ELFCLASS64"),
    };
    let mut all = vec![
        ("EI_MAG", 4, magic, ""),
        ("EI_CLASS", 1, class, width),
        ("EI_DATA", 1, data, order),
        ("EI_VERSION", 1, 1, ""),
        ("EI_OSABI", 1, 0, "ELFOSABI_NONE"),
        ("EI_ABIVERSION", 1, 0, ""),
        ("EI_PAD", 7, 0, ""),
        ("e_type", 2, 3, "ET_DYN: may lie anywhere"),
        ("e_machine", 2, platform.machine, platform.name),
        ("e_version", 4, 1, ""),
        ("e_entry", word, entry, "_start"),
        ("e_phoff", word, header, ""),
        ("e_shoff", word, 0, ""),
        ("e_flags", 4, platform.elf_flags, ""),
        ("e_ehsize", 2, header, ""),
        ("e_phentsize", 2, segment, ""),
        ("e_phnum", 2, 2, ""),
        ("e_shentsize", 2, 0, ""),
        ("e_shnum", 2, 0, ""),
        ("e_shstrndx", 2, 0, ""),
    ];
    // The segment, which is the whole file; and that the stack is not executable.
    let load = (
        ("p_type", 4, 1, "PT_LOAD"),
        (5, "PF_R | PF_X"),
        bytes,
        platform.page,
    );
    let stack = (
        ("p_type", 4, 0x6474_e551, "PT_GNU_STACK"),
        (6, "PF_R | PF_W"),
        0,
        0,
    );
    for (kind, (flags, may), size, align) in [load, stack] {
        let flags = ("p_flags", 4, flags, may);
        all.push(kind);
        all.extend((!is_short).then_some(flags));
        all.extend(["p_offset", "p_vaddr", "p_paddr"].map(|name| (name, word, 0, "")));
        all.extend(["p_filesz", "p_memsz"].map(|name| (name, word, size, "")));
        all.extend(is_short.then_some(flags));
        all.push(("p_align", word, align, ""));
    }
    let mut end = 0;
    let field = |(name, size, value, what)| {
        end += size;
        (name, end - size..end, value, what)
    };
    all.into_iter().map(field).collect()
}

/// Where the kernel enters, if all of it is as it has to be.
pub fn entry(platform: &Platform, file: &[u8]) -> Result<i64> {
    for (name, place, value, _) in fields(platform, file.len()) {
        let bytes = file.get(place);
        let number = platform.number(bytes.with_context(|| format!("{name} is cut"))?);
        ensure!(number == value, "{name} is {number:#x}, not {value:#x}");
    }
    Ok(code(platform) as i64 + i64::from(platform.is_thumb()))
}

/// Where the code begins.
pub fn code(platform: &Platform) -> usize {
    fields(platform, 0).last().map_or(0, |it| it.1.end)
}
