//! The binaries are small, plain ELF files.

use object::{
    Endianness::{self, Big, Little},
    elf::{
        EF_ARM_ABI_FLOAT_SOFT, EF_ARM_EABI_VER5, EF_RISCV_FLOAT_ABI_DOUBLE, EF_RISCV_RVC, EM_386,
        EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64, ET_DYN, FileHeader32,
        FileHeader64, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_LOAD,
    },
    read::elf::{FileHeader, ProgramHeader},
};
use std::{fs, process::Command};
use tests::{
    for_each_program, output,
    program::{Program, VERSION_LENGTH},
};

for_each_program!(is_small, has_two_program_headers_and_no_sections, is_valid);

/// The limit is for code and texts: a version longer than 0.1.0 may add its extra bytes.
fn is_small(program: &Program) {
    let size = fs::metadata(&program.path).unwrap().len();
    let goal = program.platform.goal;
    println!("{}: {size} bytes", program.path.display());
    let size = size + VERSION_LENGTH - env!("CARGO_PKG_VERSION").len() as u64;
    assert!(size <= goal, "{size} bytes; the goal is {goal}");
}

fn has_two_program_headers_and_no_sections(program: &Program) {
    match program.platform.arch {
        "386" | "arm" => see_headers::<FileHeader32<Endianness>>(program),
        _ => see_headers::<FileHeader64<Endianness>>(program),
    }
}

fn see_headers<Elf: FileHeader<Endian = Endianness>>(program: &Program) {
    let file = &*fs::read(&program.path).unwrap();
    let size = file.len() as u64;
    let header = Elf::parse(file).unwrap();
    let (machine, flags, end) = match program.platform.arch {
        "386" => (EM_386, 0, Little),
        "amd64" => (EM_X86_64, 0, Little),
        "arm" => (EM_ARM, EF_ARM_EABI_VER5.0 | EF_ARM_ABI_FLOAT_SOFT, Little),
        "arm64" => (EM_AARCH64, 0, Little),
        // ELFv2; the object crate has no name for it.
        "ppc64le" => (EM_PPC64, 2, Little),
        "riscv64" => (
            EM_RISCV,
            EF_RISCV_RVC.0 | EF_RISCV_FLOAT_ABI_DOUBLE.0,
            Little,
        ),
        _ => (EM_S390, 0, Big),
    };
    assert_eq!(header.endian().unwrap(), end);
    assert_eq!(header.e_type(end), ET_DYN);
    assert_eq!(header.e_machine(end), machine);
    assert_eq!(header.e_flags(end).0, flags);
    assert_eq!(header.e_shoff(end).into(), 0);
    assert_eq!(header.e_shnum(end), 0);
    assert_eq!(header.e_shstrndx(end).0, 0);
    // e_ident after class, data and version: System V ABI, version 0, padding.
    assert_eq!(file[7..16], [0; 9]);

    // The code starts right behind the headers, and the entry is its first byte. On arm the entry is odd:
    // Thumb.
    let start = size_of::<Elf>() as u64;
    let headers = start + 2 * size_of::<Elf::ProgramHeader>() as u64;
    let thumb = u64::from(program.platform.arch == "arm");
    assert_eq!(header.e_phoff(end).into(), start);
    assert_eq!(header.e_entry(end).into(), headers + thumb);

    let [load, stack] = header.program_headers(end, file).unwrap() else {
        panic!("not two program headers")
    };
    assert_eq!(load.p_type(end), PT_LOAD);
    assert_eq!(load.p_flags(end), PF_R | PF_X);
    let places = [load.p_offset(end), load.p_vaddr(end), load.p_paddr(end)];
    assert_eq!(places.map(Into::into), [0; 3]);
    let sizes = [load.p_filesz(end), load.p_memsz(end)];
    assert_eq!(sizes.map(Into::into), [size; 2]);
    assert_eq!(load.p_align(end).into(), program.platform.page);
    assert_eq!(stack.p_type(end), PT_GNU_STACK);
    assert_eq!(stack.p_flags(end), PF_R | PF_W);
    let sizes = [stack.p_filesz(end), stack.p_memsz(end)];
    assert_eq!(sizes.map(Into::into), [0; 2]);
}

/// So tests of one cover both. (On riscv64 two instructions are swapped; there both are tested.)
#[test]
fn both_crates_make_the_same_file() {
    for platform in ["amd64", "arm64"] {
        let [one, other] = ["pause", "pause-sc"].map(|folder| Program::new(folder, platform).path);
        let is_same = fs::read(one).unwrap() == fs::read(other).unwrap();
        assert!(is_same, "{platform}: the crates make different files");
    }
}

fn is_valid(program: &Program) {
    let path = &program.path;
    assert_eq!(
        output(Command::new("eu-elflint").arg("--strict").arg(path)),
        "No errors\n"
    );
    let mut readelf = Command::new("readelf");
    let readelf = readelf.arg("-aW").arg(path).output().unwrap();
    // readelf 2.40 exits with 1, without a message, on an arm file without unwind sections.
    let fails = program.platform.arch == "arm" && readelf.status.code() == Some(1);
    assert!(
        (readelf.status.success() || fails) && readelf.stderr.is_empty(),
        "{readelf:?}"
    );
    let file = output(Command::new("file").arg("--brief").arg(path));
    assert!(
        file.contains("pie executable") && file.contains("statically linked"),
        "{file}"
    );
}
