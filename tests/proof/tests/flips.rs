//! Each bit of the file, flipped: something else has to come of it, or it stands in a list, with the
//! reason why nothing does.

use proof::{Arch, Binary, code, elf, machine::Machine, scenarios};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Command, Stdio},
};
use tests::{program::NATIVE_ARCH, sandbox::try_run};

/// The fields of the headers that Linux does not look at, or not at all of their bits, and why.
const IGNORED: [(&str, &str); 24] = [
    ("EI_CLASS", "e_machine tells what it is for"),
    ("EI_DATA", "e_machine tells what it is for"),
    ("EI_VERSION", "there is one version"),
    ("EI_OSABI", "of use to other systems"),
    ("EI_ABIVERSION", "of use to other systems"),
    ("EI_PAD", "of no use yet"),
    ("e_version", "there is one version"),
    ("e_shoff", "sections are for linkers"),
    ("e_flags", "neither processor has any"),
    ("e_ehsize", "there is one size"),
    (
        "e_phnum",
        "the headers more are taken from code, and are of no type that it knows",
    ),
    ("e_shentsize", "sections are for linkers"),
    ("e_shnum", "sections are for linkers"),
    ("e_shstrndx", "sections are for linkers"),
    ("PT_LOAD p_flags", "more than R, W and X mean nothing"),
    ("PT_LOAD p_paddr", "memory is virtual"),
    (
        "PT_LOAD p_align",
        "what is no power of two counts for nothing, and a page is the least",
    ),
    ("PT_GNU_STACK p_flags", "it looks at X alone"),
    ("PT_GNU_STACK p_offset", "it looks at p_flags alone"),
    ("PT_GNU_STACK p_vaddr", "it looks at p_flags alone"),
    ("PT_GNU_STACK p_paddr", "it looks at p_flags alone"),
    ("PT_GNU_STACK p_filesz", "it looks at p_flags alone"),
    ("PT_GNU_STACK p_memsz", "it looks at p_flags alone"),
    ("PT_GNU_STACK p_align", "it looks at p_flags alone"),
];

/// A bit of the file: the byte's offset, and the bit's number, 0 the lowest.
type Bit = (usize, u32);

fn flip(file: &[u8], (offset, bit): Bit) -> Vec<u8> {
    let mut flipped = file.to_vec();
    flipped[offset] ^= 1 << bit;
    flipped
}

fn bits(offsets: impl Iterator<Item = usize>) -> impl Iterator<Item = Bit> {
    offsets.flat_map(|offset| (0..8).map(move |bit| (offset, bit)))
}

/// The bits of the headers that make no difference, by field, as the loader has it.
fn ignored_in_headers(binary: &Binary) -> BTreeMap<String, Vec<Bit>> {
    let load = |file: &[u8]| elf::load(file, binary.arch, 4096);
    let healthy = load(&binary.bytes).unwrap();
    let mut ignored: BTreeMap<String, Vec<Bit>> = BTreeMap::new();
    for field in elf::fields() {
        for bit in bits(field.place) {
            if load(&flip(&binary.bytes, bit)).as_ref() == Ok(&healthy) {
                ignored.entry(field.name.clone()).or_default().push(bit);
            }
        }
    }
    ignored
}

/// The bits of code and messages that make no difference, with what each makes of its instruction.
fn equivalent_in_code(binary: &Binary) -> BTreeMap<Bit, String> {
    let scenarios = scenarios::all(binary.arch);
    let mut machine = Machine::new(&binary.bytes, binary.arch, false).unwrap();
    let mut equivalent = BTreeMap::new();
    for (offset, bit) in bits(elf::CODE..binary.bytes.len()) {
        machine.patch(offset, binary.bytes[offset] ^ 1 << bit);
        if scenarios
            .iter()
            .all(|scenario| machine.run(scenario).is_ok())
        {
            equivalent.insert((offset, bit), describe(binary, (offset, bit)));
        }
        machine.patch(offset, binary.bytes[offset]);
    }
    equivalent
}

/// What an instruction was and is, the bit being flipped.
fn describe(binary: &Binary, bit: Bit) -> String {
    let code = code::instructions(binary);
    let Some(was) = code.iter().find(|it| it.place.contains(&bit.0)) else {
        return "a message".to_owned();
    };
    let flipped = flip(&binary.bytes, bit);
    let code = &flipped[was.place.start..code::end(&binary.bytes)];
    let disassembler = code::disassembler(binary.arch);
    let found = disassembler
        .disasm_count(code, was.place.start as u64, 3)
        .unwrap();
    let mut end = was.place.start;
    let mut is = Vec::new();
    for it in found
        .iter()
        .take_while(|it| it.address() < was.place.end as u64)
    {
        let text = format!("{} {}", it.mnemonic().unwrap(), it.op_str().unwrap());
        is.push(text.trim_end().to_owned());
        end = it.address() as usize + it.len();
    }
    if is.is_empty() {
        // The processor knows it, the disassembler does not.
        let word: [u8; 4] = code[..4].try_into().unwrap();
        is.push(format!(".word {:#x}", u32::from_le_bytes(word)));
    }
    // Where it takes up bytes of the next ones, these are others too.
    let more = if end > was.place.end { "; …" } else { "" };
    format!("{} -> {}{more}", was.text, is.join("; "))
}

/// The reviewed list of that architecture: each bit, and what becomes of its instruction, below the
/// reason why that makes no difference.
fn reviewed(arch: Arch) -> BTreeMap<Bit, String> {
    let name = match arch {
        Arch::Amd64 => "amd64.txt",
        Arch::Arm64 => "arm64.txt",
    };
    let list = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("equivalents")
        .join(name);
    let list = fs::read_to_string(list).unwrap();
    let mut reason = None;
    let mut bits = BTreeMap::new();
    for line in list.lines().filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("# ") {
            reason = Some(text);
            continue;
        }
        assert!(reason.is_some(), "{line} has no reason");
        let (bit, what) = line.split_once("  ").unwrap();
        let (offset, bit) = bit.strip_prefix("0x").unwrap().split_once('.').unwrap();
        let bit = (
            usize::from_str_radix(offset, 16).unwrap(),
            bit.parse().unwrap(),
        );
        assert_eq!(
            bits.insert(bit, what.to_owned()),
            None,
            "{line} is there twice"
        );
    }
    bits
}

fn line((offset, bit): Bit, what: &str) -> String {
    format!("{offset:#x}.{bit}  {what}")
}

#[test]
fn every_bit_counts_or_has_a_reason() {
    let mut done: Vec<(Vec<u8>, String)> = Vec::new();
    let mut reasons = BTreeSet::new();
    for binary in Binary::all() {
        // The other backend may have made the same file: then it is proven.
        if let Some((_, score)) = done.iter().find(|(bytes, _)| *bytes == binary.bytes) {
            println!("flips of {}, the same file: {score}", binary.name());
            continue;
        }
        let ignored = ignored_in_headers(&binary);
        for field in ignored.keys() {
            let reason = IGNORED.iter().find(|(name, _)| name == field);
            assert!(
                reason.is_some(),
                "{}: {field} has no reason: {:x?}",
                binary.name(),
                ignored[field]
            );
            reasons.insert(field.clone());
        }
        let ignored: usize = ignored.values().map(Vec::len).sum();

        let equivalent = equivalent_in_code(&binary);
        let reviewed = reviewed(binary.arch);
        let lines = |bits: &BTreeMap<Bit, String>| -> BTreeSet<String> {
            bits.iter().map(|(bit, what)| line(*bit, what)).collect()
        };
        let (found, listed) = (lines(&equivalent), lines(&reviewed));
        let new: Vec<&String> = found.difference(&listed).collect();
        let gone: Vec<&String> = listed.difference(&found).collect();
        assert!(
            new.is_empty() && gone.is_empty(),
            "{}: not caught, and not in its list of equivalents: {new:#?}\nin it, but caught: {gone:#?}",
            binary.name()
        );

        let all = binary.bytes.len() * 8;
        let caught = all - ignored - equivalent.len();
        let score = format!(
            "{all} = {caught} caught + {ignored} in headers that Linux ignores + {} of code that are \
             equivalent, each with its reason",
            equivalent.len()
        );
        println!("flips of {}: {score}", binary.name());
        done.push((binary.bytes, score));
    }
    let unused: Vec<&str> = IGNORED
        .iter()
        .map(|(field, _)| *field)
        .filter(|field| !reasons.contains(*field))
        .collect();
    assert!(unused.is_empty(), "these fields are looked at: {unused:?}");
}

/// On the kernel of this machine: what the loader above says of the headers is true.
#[test]
fn linux_ignores_what_it_is_said_to_ignore() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pause");
    let version = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
    for binary in Binary::all() {
        if !binary
            .name()
            .starts_with(&format!("{NATIVE_ARCH} (syscalls"))
        {
            continue;
        }
        let ignored: BTreeSet<Bit> = ignored_in_headers(&binary)
            .into_values()
            .flatten()
            .collect();
        let (mut alike, mut refused) = (0, 0);
        for bit in bits(0..elf::HEADERS) {
            _ = fs::remove_file(&path);
            let mut file = fs::OpenOptions::new();
            let mut file = file
                .write(true)
                .create_new(true)
                .mode(0o555)
                .open(&path)
                .unwrap();
            std::io::Write::write_all(&mut file, &flip(&binary.bytes, bit)).unwrap();
            drop(file);
            let end = try_run(Command::new(&path).arg("-v").stdout(Stdio::piped()));
            let tells = end.is_ok_and(|end| end.status == Ok(0) && end.stdout == version);
            assert!(
                tells || !ignored.contains(&bit),
                "{bit:x?} is ignored, but does not run"
            );
            if tells { alike += 1 } else { refused += 1 }
        }
        println!(
            "flips in the headers of {}, run on Linux: {alike} tell their version, {} of them ignored; \
             {refused} do not",
            binary.name(),
            ignored.len(),
        );
    }
}
