//! The files that ship: small, nothing outside the segment, and valid for those who look at ELF files.

use object::{
    Endianness,
    elf::{FileHeader32, FileHeader64},
    read::elf::{FileHeader, ProgramHeader},
};
use sandbox::{
    output,
    program::{Program, VERSION_LENGTH},
};
use std::{fs, process::Command};

promises!(is_small, has_no_byte_outside_its_segment, is_valid);

/// The limit is for code and texts: a version longer than 0.1.0 may add its extra bytes.
fn is_small(program: &Program) {
    let size = fs::metadata(&program.path).unwrap().len();
    let goal = program.platform.goal;
    println!("{}: {size} bytes", program.path.display());
    let size = size + VERSION_LENGTH - env!("CARGO_PKG_VERSION").len() as u64;
    assert!(size <= goal, "{size} bytes; the goal is {goal}");
}

fn has_no_byte_outside_its_segment(program: &Program) {
    match program.platform.arch {
        "386" | "arm" => check_end::<FileHeader32<Endianness>>(program),
        _ => check_end::<FileHeader64<Endianness>>(program),
    }
}

fn check_end<Elf: FileHeader<Endian = Endianness>>(program: &Program) {
    let file = &*fs::read(&program.path).unwrap();
    let header = Elf::parse(file).unwrap();
    let end = header.endian().unwrap();
    assert_eq!(header.e_shoff(end).into(), 0);
    assert_eq!(header.e_shnum(end), 0);
    assert_eq!(header.e_shstrndx(end).0, 0);
    let load = &header.program_headers(end, file).unwrap()[0];
    assert_eq!(load.p_filesz(end).into(), file.len() as u64);
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
