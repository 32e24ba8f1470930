//! What Linux makes of the file, written after `load_elf_binary()` in `fs/binfmt_elf.c`: only what it
//! looks at, in its order. Numbers are in bytes.

use crate::Arch;
use std::ops::Range;

/// The ELF header and two program headers, which lie behind it.
pub const HEADERS: usize = 64 + 2 * 56;

/// Where the machine code begins, and the headers end.
pub const CODE: usize = HEADERS;

/// A field of a header: its name as elf(5) has it, and its place in the file.
pub struct Field {
    pub name: String,
    pub place: Range<usize>,
}

/// The fields of the headers, in the order of the file.
pub fn fields() -> Vec<Field> {
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
        ("e_entry", 8),
        ("e_phoff", 8),
        ("e_shoff", 8),
        ("e_flags", 4),
        ("e_ehsize", 2),
        ("e_phentsize", 2),
        ("e_phnum", 2),
        ("e_shentsize", 2),
        ("e_shnum", 2),
        ("e_shstrndx", 2),
    ];
    let segment = [
        ("p_type", 4),
        ("p_flags", 4),
        ("p_offset", 8),
        ("p_vaddr", 8),
        ("p_paddr", 8),
        ("p_filesz", 8),
        ("p_memsz", 8),
        ("p_align", 8),
    ];
    let named = |prefix: &'static str| move |(name, size)| (format!("{prefix}{name}"), size);
    let mut offset = 0;
    header
        .map(named(""))
        .into_iter()
        .chain(segment.map(named("PT_LOAD ")))
        .chain(segment.map(named("PT_GNU_STACK ")))
        .map(|(name, size)| {
            let place = offset..offset + size;
            offset = place.end;
            Field { name, place }
        })
        .collect()
}

/// What the program finds in memory when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub segments: Vec<Segment>,
    /// Relative to where the first segment comes to lie, as all addresses here.
    pub entry: u64,
    /// What that place is a multiple of; of the page, at the least. None where it is fixed.
    pub alignment: Option<u64>,
    pub stack_is_executable: bool,
}

/// A part of the file in memory, in whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub address: u64,
    pub length: u64,
    pub offset: u64,
    /// PF_R, PF_W and PF_X (elf(5)).
    pub flags: u32,
    /// Where it is to be zeros, behind what comes from the file.
    pub zeros: Option<(u64, u64)>,
}

const PF_X: u32 = 1;
const PF_RWX: u32 = 7;

/// Why Linux does not start the file: execve(2) fails, or the process is killed before it ran.
pub type Refusal = &'static str;

/// Where a number of a header is.
fn number(file: &[u8], at: u64, size: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let bytes = file.get(at..at.checked_add(size)?)?;
    let mut number = [0; 8];
    number[..size].copy_from_slice(bytes);
    Some(u64::from_le_bytes(number))
}

/// Loads a program for that processor, on pages of that size.
pub fn load(file: &[u8], arch: Arch, page: u64) -> Result<Layout, Refusal> {
    // x86_64 with four levels of page tables, arm64 with 48 bits.
    let task_size = match arch {
        Arch::Amd64 => (1 << 47) - page,
        Arch::Arm64 => 1 << 48,
    };
    let field = |at, size| number(file, at, size).ok_or("ENOEXEC: cut");

    if file.get(..4) != Some(b"\x7fELF") {
        return Err("ENOEXEC: magic");
    }
    let is_fixed = match field(16, 2)? {
        2 => true,
        3 => false,
        _ => return Err("ENOEXEC: type"),
    };
    let machine = match arch {
        Arch::Amd64 => 62,
        Arch::Arm64 => 183,
    };
    if field(18, 2)? != machine {
        return Err("ENOEXEC: machine");
    }
    if field(54, 2)? != 56 {
        return Err("ENOEXEC: size of a program header");
    }
    let count = field(56, 2)?;
    if count == 0 || count * 56 > 65536 {
        return Err("ENOEXEC: number of program headers");
    }
    let first = field(32, 8)?;
    let mut headers = Vec::new();
    for index in 0..count {
        let at = first.wrapping_add(index * 56);
        let get = |offset, size| {
            let at = at.checked_add(offset).ok_or("EINVAL: offset")?;
            number(file, at, size).ok_or("EIO: program headers")
        };
        headers.push(Header {
            kind: get(0, 4)? as u32,
            flags: get(4, 4)? as u32,
            offset: get(8, 8)?,
            address: get(16, 8)?,
            file_size: get(32, 8)?,
            memory_size: get(40, 8)?,
            alignment: get(48, 8)?,
        });
    }

    // Pause has none, and what would be taken for its name is no file.
    if headers.iter().any(|header| header.kind == PT_INTERP) {
        return Err("ENOEXEC: interpreter");
    }
    let stack = headers.iter().rfind(|header| header.kind == PT_GNU_STACK);
    // Without such a header it depends on the architecture and the kernel.
    let stack_is_executable = stack.is_none_or(|header| header.flags & PF_X != 0);
    if let Some(properties) = headers.iter().find(|it| it.kind == PT_GNU_PROPERTY) {
        // Less than a note.
        if properties.file_size < 16 {
            return Err("EIO: properties");
        }
    }

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
    let entry = field(24, 8)?;
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

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;

struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}
