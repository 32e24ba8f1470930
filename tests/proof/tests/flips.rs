//! Each bit of the file, flipped: Linux does not load it, or the proof fails; or it is an equal program,
//! which the proof says of code and texts, and the loader of headers, each field with the reason. `make
//! test` flips a share of the bits of code and texts; `make mutants`, all.

use proof::{
    Program, elf,
    flips::{Bit, flip, flips, place},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::OpenOptionsExt,
    process::{Command, Stdio},
};
use tests::{program::NATIVE_ARCH, sandbox::try_run};

/// One bit of so many is flipped: all eight of a byte have their turn.
const EVERY: usize = 13;

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
    (
        "e_flags",
        "only powerpc's say what the kernel needs, in two bits",
    ),
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

fn bits(offsets: impl Iterator<Item = usize>) -> impl Iterator<Item = Bit> {
    offsets.flat_map(|offset| (0..8).map(move |bit| (offset, bit)))
}

/// The bits of the headers that make no difference, by field, as the loader has it.
fn ignored_in_headers(program: &Program) -> BTreeMap<String, Vec<Bit>> {
    let load = |file: &[u8]| elf::load(program.platform, file, 4096);
    let healthy = load(&program.bytes).unwrap();
    let mut ignored: BTreeMap<String, Vec<Bit>> = BTreeMap::new();
    for field in elf::fields(program.platform) {
        for bit in bits(field.place) {
            if load(&flip(&program.bytes, bit)).as_ref() == Ok(&healthy) {
                ignored.entry(field.name.clone()).or_default().push(bit);
            }
        }
    }
    ignored
}

#[test]
fn every_bit_of_the_headers_counts_or_has_a_reason() {
    let mut reasons = BTreeSet::new();
    for program in Program::all().unwrap() {
        let ignored = ignored_in_headers(&program);
        for (field, bits) in &ignored {
            let is_listed = IGNORED.iter().any(|(name, _)| name == field);
            assert!(
                is_listed,
                "{}: {field} has no reason: {bits:x?}",
                program.name()
            );
            reasons.insert(field.clone());
        }
        let (all, ignored) = (
            8 * elf::code(program.platform),
            ignored.values().map(Vec::len).sum::<usize>(),
        );
        println!(
            "{}: {all} bits of headers = {} caught + {ignored} that Linux ignores",
            program.name(),
            all - ignored
        );
    }
    let unused = IGNORED
        .iter()
        .filter(|(field, _)| !reasons.contains(*field));
    let unused: Vec<&str> = unused.map(|(field, _)| *field).collect();
    assert!(unused.is_empty(), "these fields are looked at: {unused:?}");
}

#[test]
fn every_bit_of_code_and_texts_counts_or_makes_an_equal_program() {
    for program in Program::all().unwrap() {
        let report = program.prove().unwrap();
        let flips = flips(&program, place(&program), EVERY).unwrap();
        let end = report
            .instructions
            .last_key_value()
            .map(|(at, it)| at + it.length as i64)
            .unwrap();
        let in_texts = flips
            .equal
            .iter()
            .filter(|(at, _)| *at as i64 >= end && report.read.contains(&(*at as i64)));
        assert_eq!(
            in_texts.count(),
            0,
            "{}: texts that may be others",
            program.name()
        );
        let (caught, equal) = (flips.caught.len(), flips.equal.len());
        // Fields of instructions that a processor does not look at are few.
        assert!(
            equal * 8 < caught,
            "{}: {equal} of {caught} are proved, too",
            program.name()
        );
        println!(
            "{}: {} bits of code and texts = {caught} caught + {equal} proved, too",
            program.name(),
            caught + equal
        );
    }
}

/// On the kernel of this machine: what the loader above says of the headers is true.
#[test]
fn linux_ignores_what_it_is_said_to_ignore() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pause");
    let version = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
    for program in Program::all().unwrap() {
        if program.name() != format!("pause/{NATIVE_ARCH}") {
            continue;
        }
        let ignored: BTreeSet<Bit> = ignored_in_headers(&program)
            .into_values()
            .flatten()
            .collect();
        let (mut alike, mut refused) = (0, 0);
        for bit in bits(0..elf::code(program.platform)) {
            _ = fs::remove_file(&path);
            let mut file = fs::OpenOptions::new();
            let mut file = file
                .write(true)
                .create_new(true)
                .mode(0o555)
                .open(&path)
                .unwrap();
            std::io::Write::write_all(&mut file, &flip(&program.bytes, bit)).unwrap();
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
            program.name(),
            ignored.len(),
        );
    }
}
