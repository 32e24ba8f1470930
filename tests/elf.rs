//! The program is a static, position-independent ELF file with one segment. The proof compares each header field.

use object::{
    Endianness,
    elf::{ET_DYN, FileHeader32, FileHeader64, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader},
};
use sandbox::program::{Program, WARNING};
use std::fs;

promises!(has_one_segment_to_load);

fn has_one_segment_to_load(program: &Program) {
    match program.platform.arch {
        "386" | "arm" => see_headers::<FileHeader32<Endianness>>(program),
        _ => see_headers::<FileHeader64<Endianness>>(program),
    }
}

fn see_headers<Elf: FileHeader<Endian = Endianness>>(program: &Program) {
    let file = &*fs::read(&program.path).unwrap();
    let header = Elf::parse(file).unwrap();
    let end = header.endian().unwrap();
    assert_eq!(header.e_type(end), ET_DYN);
    let [load, stack] = header.program_headers(end, file).unwrap() else {
        panic!("not two program headers")
    };
    assert_eq!(load.p_type(end), PT_LOAD);
    assert_eq!(load.p_flags(end), PF_R | PF_X);
    assert_eq!(load.p_align(end).into(), program.platform.page);
    // Nothing is cleared, and nothing is left out: the messages are in it.
    let [start, size, memory] =
        [load.p_offset(end), load.p_filesz(end), load.p_memsz(end)].map(Into::into);
    assert_eq!((start, size), (0, memory));
    assert!(file[..size as usize].ends_with(WARNING.as_bytes()));
    assert_eq!(stack.p_type(end), PT_GNU_STACK);
    assert_eq!(stack.p_flags(end), PF_R | PF_W);
}
