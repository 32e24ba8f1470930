//! What the files are: small, plain ELF, with nothing of it used for anything else.

use object::{
    Endianness::{self, Little},
    elf::{EM_AARCH64, EM_X86_64, ET_DYN, FileHeader64, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader},
};
use std::{fs, process::Command};
use tests::{for_each_program, output, program::Program};

for_each_program!(is_small, has_two_program_headers_and_no_sections, is_valid,);

fn is_small(program: &Program) {
    let size = fs::metadata(&program.path).unwrap().len();
    let goal = match program.arch {
        "amd64" => 512,
        _ => 576,
    };
    println!("{}: {size} bytes", program.path.display());
    assert!(size <= goal, "{size} bytes; the goal is {goal}");
}

fn has_two_program_headers_and_no_sections(program: &Program) {
    let file = &*fs::read(&program.path).unwrap();
    let size = file.len() as u64;
    let header = FileHeader64::<Endianness>::parse(file).unwrap();
    let (machine, page) = match program.arch {
        "amd64" => (EM_X86_64, 0x1000),
        _ => (EM_AARCH64, 0x10000),
    };
    assert_eq!(header.endian().unwrap(), Little);
    assert_eq!(header.e_type(Little), ET_DYN);
    assert_eq!(header.e_machine(Little), machine);
    assert_eq!(header.e_flags(Little).0, 0);
    assert_eq!(header.e_shoff(Little), 0);
    assert_eq!(header.e_shnum(Little), 0);
    assert_eq!(header.e_shstrndx(Little).0, 0);
    // The identification behind class, data and version is System V's zeros.
    assert_eq!(file[7..16], [0; 9]);

    // Headers, then code; the entry is the first byte that is no header.
    let headers = 64 + 2 * 56;
    assert_eq!(header.e_phoff(Little), 64);
    assert_eq!(header.e_entry(Little), headers);

    let [load, stack] = header.program_headers(Little, file).unwrap() else {
        panic!("not two program headers")
    };
    assert_eq!(load.p_type(Little), PT_LOAD);
    assert_eq!(load.p_flags(Little), PF_R | PF_X);
    assert_eq!(
        (
            load.p_offset(Little),
            load.p_vaddr(Little),
            load.p_paddr(Little)
        ),
        (0, 0, 0)
    );
    assert_eq!((load.p_filesz(Little), load.p_memsz(Little)), (size, size));
    assert_eq!(load.p_align(Little), page);
    assert_eq!(stack.p_type(Little), PT_GNU_STACK);
    assert_eq!(stack.p_flags(Little), PF_R | PF_W);
    assert_eq!((stack.p_filesz(Little), stack.p_memsz(Little)), (0, 0));
}

fn is_valid(program: &Program) {
    let path = &program.path;
    assert_eq!(
        output(Command::new("eu-elflint").arg("--strict").arg(path)),
        "No errors\n"
    );
    let readelf = Command::new("readelf")
        .args(["-aW"])
        .arg(path)
        .output()
        .unwrap();
    assert!(
        readelf.status.success() && readelf.stderr.is_empty(),
        "{readelf:?}"
    );
    let file = output(Command::new("file").arg("--brief").arg(path));
    assert!(
        file.contains("pie executable") && file.contains("statically linked"),
        "{file}"
    );
}
