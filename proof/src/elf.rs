//! The headers of the file: each field must have one number.

use crate::platform::Platform;
use anyhow::{Context, Error, Result, ensure};
use std::ops::Range;

/// A field of a header: its name in elf(5), its place in the file, the number that must be there, and
/// what that number says.
pub type Field = (&'static str, Range<usize>, u64, &'static str);

/// The fields of the ELF header and of both program headers, in the order of the file. The code begins
/// after them, where the kernel enters.
pub fn fields(platform: &Platform, size: usize) -> Vec<Field> {
    let (word, is_short) = (platform.bytes() as usize, platform.is_32_bit);
    let (header, segment) = if is_short { (52, 32) } else { (64, 56) };
    let code = header + 2 * segment;
    // Thumb's addresses are odd.
    let entry = code + u64::from(platform.is_thumb());
    let magic = platform.number(b"\x7fELF");
    let (class, width) = [(2, "ELFCLASS64"), (1, "ELFCLASS32")][usize::from(is_short)];
    let orders = [(1, "ELFDATA2LSB"), (2, "ELFDATA2MSB")];
    let (data, order) = orders[usize::from(platform.is_big_endian())];
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
    for (kind, what, flags, may, size, align) in [
        (1, "PT_LOAD", 5, "PF_R | PF_X", size as u64, platform.page),
        (0x6474_e551, "PT_GNU_STACK", 6, "PF_R | PF_W", 0, 0),
    ] {
        let flags = ("p_flags", 4, flags, may);
        all.push(("p_type", 4, kind, what));
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

/// What the kernel loads of the file, and where it enters, if all of it is as it has to be. A linker may
/// write section headers after that, and name them in fields that the kernel does not read.
pub fn load<'f>(platform: &Platform, file: &'f [u8]) -> Result<(&'f [u8], i64)> {
    let number = |name, place| {
        let bytes = file.get(place);
        Ok::<_, Error>(platform.number(bytes.with_context(|| format!("{name} is cut"))?))
    };
    let mut fields_of = fields(platform, 0).into_iter();
    let size = fields_of.find(|it| it.0 == "p_filesz");
    let size = number("p_filesz", size.context("no segment")?.1)? as usize;
    let loaded = file.get(..size).context("the segment is cut")?;
    for (name, place, value, _) in fields(platform, size) {
        let number = number(name, place)?;
        let may_be_any = name.starts_with("e_sh") && size < file.len();
        let is_right = number == value || may_be_any;
        ensure!(is_right, "{name} is {number:#x}, not {value:#x}");
    }
    let entry = code(platform) as i64 + i64::from(platform.is_thumb());
    Ok((loaded, entry))
}

/// Where the code begins.
pub fn code(platform: &Platform) -> usize {
    fields(platform, 0).last().map_or(0, |it| it.1.end)
}
