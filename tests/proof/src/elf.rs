//! The headers of the file: what is in them, and what Linux makes of them, written after
//! `load_elf_binary()` in `fs/binfmt_elf.c`: only what it looks at, in its order. Numbers are in bytes.

use crate::kernel::Platform;
use std::ops::Range;

/// A field: its name as elf(5) has it, and its place in the file.
pub struct Field {
    pub name: String,
    pub place: Range<usize>,
}

/// The fields of the ELF header and of both program headers, in the order of the file; behind them
/// begins the code.
pub fn fields(platform: &Platform) -> Vec<Field> {
    let word = platform.bytes() as usize;
    let header = [
        ("EI_MAG", 4),
        ("EI_CLASS", 1),
        ("EI_DATA", 1),
        ("EI_VERSION", 1),
        ("EI_OSABI", 1),
        ("EI_ABIVERSION", 1),
        ("EI_PAD", 7),
        ("e_type", 2),
        ("e_machine", 2),
        ("e_version", 4),
        ("e_entry", word),
        ("e_phoff", word),
        ("e_shoff", word),
        ("e_flags", 4),
        ("e_ehsize", 2),
        ("e_phentsize", 2),
        ("e_phnum", 2),
        ("e_shentsize", 2),
        ("e_shnum", 2),
        ("e_shstrndx", 2),
    ];
    let mut segment = vec![
        ("p_type", 4),
        ("p_flags", 4),
        ("p_offset", word),
        ("p_vaddr", word),
        ("p_paddr", word),
        ("p_filesz", word),
        ("p_memsz", word),
        ("p_align", word),
    ];
    if word == 4 {
        let flags = segment.remove(1);
        segment.insert(6, flags);
    }
    let mut offset = 0;
    let mut fields = Vec::new();
    for (prefix, part) in [
        ("", &header[..]),
        ("PT_LOAD ", &segment),
        ("PT_GNU_STACK ", &segment),
    ] {
        for (name, size) in part {
            fields.push(Field {
                name: format!("{prefix}{name}"),
                place: offset..offset + size,
            });
            offset += size;
        }
    }
    fields
}

/// Where the code begins.
pub fn code(platform: &Platform) -> usize {
    fields(platform).last().expect("there are fields").place.end
}

/// The number in a field.
pub fn number(platform: &Platform, bytes: &[u8]) -> u64 {
    let add = |number, byte: &u8| number << 8 | u64::from(*byte);
    if platform.isa.is_big_endian {
        bytes.iter().fold(0, add)
    } else {
        bytes.iter().rev().fold(0, add)
    }
}

/// Where the kernel enters it.
pub fn entry(platform: &Platform, file: &[u8]) -> i64 {
    let fields = fields(platform);
    let field = fields
        .iter()
        .find(|it| it.name == "e_entry")
        .expect("there is one");
    number(platform, &file[field.place.clone()]) as i64
}

/// What the program finds in memory when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    segments: Vec<Segment>,
    /// Relative to where the first segment comes to lie, as all addresses here.
    entry: u64,
    /// What that place is a multiple of; of the page, at the least. None where it is fixed.
    alignment: Option<u64>,
    stack_is_executable: bool,
}

/// A part of the file in memory, in whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    address: u64,
    length: u64,
    offset: u64,
    /// PF_R, PF_W and PF_X (elf(5)).
    flags: u64,
    /// Where it is to be zeros, behind what comes from the file.
    zeros: Option<(u64, u64)>,
}

const PF_X: u64 = 1;
const PF_RWX: u64 = 7;
const PT_LOAD: u64 = 1;
const PT_INTERP: u64 = 3;
const PT_GNU_STACK: u64 = 0x6474_e551;
const PT_GNU_PROPERTY: u64 = 0x6474_e553;

/// Why Linux does not start the file: execve(2) fails, or the process is killed before it ran.
pub type Refusal = &'static str;

/// Loads a program on pages of that size.
///
/// # Errors
///
/// As [`Refusal`] says.
pub fn load(platform: &Platform, file: &[u8], page: u64) -> Result<Layout, Refusal> {
    let fields = fields(platform);
    // A field of the header, or of the program header that is so many bytes behind the first.
    let field = |name: &str, behind: u64, error| {
        let place = &fields
            .iter()
            .find(|it| it.name == name)
            .expect("there is one")
            .place;
        let start = usize::try_from(place.start as u64 + behind).map_err(|_| error)?;
        let bytes = file
            .get(start..start.saturating_add(place.len()))
            .ok_or(error)?;
        Ok::<u64, Refusal>(number(platform, bytes))
    };
    let header = |name| field(name, 0, "ENOEXEC: cut");
    let first = fields
        .iter()
        .find(|it| it.name == "PT_LOAD p_type")
        .expect("there is one")
        .place
        .start as u64;
    let size = (code(platform) as u64 - first) / 2;

    if file.get(..4) != Some(b"\x7fELF") {
        return Err("ENOEXEC: magic");
    }
    let is_fixed = match header("e_type")? {
        2 => true,
        3 => false,
        _ => return Err("ENOEXEC: type"),
    };
    if header("e_machine")? != u64::from(platform.machine) {
        return Err("ENOEXEC: machine");
    }
    // `elf_check_arch` of these two in `arch/*/include/asm/elf.h`.
    if matches!(platform.name, "riscv64" | "s390x") && header("EI_CLASS")? != 2 {
        return Err("ENOEXEC: class");
    }
    // `SET_PERSONALITY` and `start_thread` of powerpc.
    if platform.name == "ppc64le" && header("e_flags")? & 3 != 2 {
        return Err("SIGSEGV: the entry is taken for a function's descriptor");
    }
    if header("e_phentsize")? != size {
        return Err("ENOEXEC: size of a program header");
    }
    let count = header("e_phnum")?;
    if count == 0 || count * size > 65536 {
        return Err("ENOEXEC: number of program headers");
    }
    let start = header("e_phoff")?;
    let mut headers = Vec::new();
    for index in 0..count {
        let behind = (start.wrapping_add(index * size)).wrapping_sub(first);
        if start > i64::MAX as u64 {
            return Err("EINVAL: offset");
        }
        let get = |name: &str| {
            let place = fields
                .iter()
                .find(|it| it.name == format!("PT_LOAD {name}"))
                .expect("there is one");
            let at = usize::try_from((place.place.start as u64).wrapping_add(behind))
                .map_err(|_| "EIO")?;
            let bytes = file
                .get(at..at.saturating_add(place.place.len()))
                .ok_or("EIO: program headers")?;
            Ok::<u64, Refusal>(number(platform, bytes))
        };
        headers.push(Header {
            kind: get("p_type")?,
            flags: get("p_flags")?,
            offset: get("p_offset")?,
            address: get("p_vaddr")?,
            file_size: get("p_filesz")?,
            memory_size: get("p_memsz")?,
            alignment: get("p_align")?,
        });
    }

    // Pause has none, and what would be taken for its name is no file.
    if headers.iter().any(|header| header.kind == PT_INTERP) {
        return Err("ENOEXEC: interpreter");
    }
    let stack = headers.iter().rfind(|header| header.kind == PT_GNU_STACK);
    // Without such a header it depends on the architecture and the kernel.
    let stack_is_executable = stack.is_none_or(|header| header.flags & PF_X != 0);
    if headers
        .iter()
        .any(|it| it.kind == PT_GNU_PROPERTY && it.file_size < 16)
    {
        return Err("EIO: less than a note of properties");
    }

    let task_size = platform.task_size;
    let loads: Vec<&Header> = headers.iter().filter(|it| it.kind == PT_LOAD).collect();
    let page_of = |address: u64| address & !(page - 1);
    let Some(lowest) = loads.iter().map(|it| it.address).min() else {
        return Err("SIGSEGV: no segment");
    };
    let bias = page_of(lowest);
    let alignments = loads.iter().map(|header| header.alignment);
    let alignment = alignments.filter(|it| it.is_power_of_two()).max();
    let alignment = (!is_fixed).then_some(alignment.unwrap_or(0).max(page));

    let mut segments = Vec::new();
    for header in &loads {
        let skip = header.address & (page - 1);
        let offset = header.offset.wrapping_sub(skip);
        if offset & (page - 1) != 0 {
            return Err("EINVAL: offset and address do not fit");
        }
        let length = header.file_size.checked_add(skip + page - 1);
        let length = page_of(length.ok_or("EINVAL: size")?);
        let end = offset.checked_add(length).ok_or("EOVERFLOW: offset")?;
        if length > task_size || i64::try_from(end).is_err() {
            return Err("ENOMEM: size");
        }
        let fits = header.address < task_size
            && header.file_size <= header.memory_size
            && header.memory_size <= task_size
            && task_size - header.memory_size >= header.address;
        if !fits {
            return Err("EINVAL: sizes");
        }
        if length == 0 {
            continue;
        }
        let (start, end) = (header.address - bias, header.memory_size);
        segments.push(Segment {
            address: page_of(header.address) - bias,
            length,
            offset,
            flags: header.flags & PF_RWX,
            zeros: (end > header.file_size).then_some((start + header.file_size, start + end)),
        });
    }
    let entry = header("e_entry")?;
    if is_fixed && (bias < 0x10000 || entry >= task_size) {
        return Err("EPERM: below vm.mmap_min_addr");
    }
    Ok(Layout {
        segments,
        entry: entry.wrapping_sub(bias),
        alignment,
        stack_is_executable,
    })
}

struct Header {
    kind: u64,
    flags: u64,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}
