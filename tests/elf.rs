//! The program is a static, position-independent ELF file with one segment.

use object::{
    Endianness::{self, Big, Little},
    elf::{
        EF_ARM_ABI_FLOAT_SOFT, EF_ARM_EABI_VER5, EF_RISCV_FLOAT_ABI_DOUBLE, EF_RISCV_RVC, EM_386,
        EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64, ET_DYN, FileHeader32,
        FileHeader64, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_LOAD,
    },
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
    // Nothing is cleared, and nothing is left out: the messages are in it.
    let [size, memory] = [load.p_filesz(end), load.p_memsz(end)].map(Into::into);
    assert_eq!(size, memory);
    assert!(file[..size as usize].ends_with(WARNING.as_bytes()));
    assert_eq!(load.p_align(end).into(), program.platform.page);
    assert_eq!(stack.p_type(end), PT_GNU_STACK);
    assert_eq!(stack.p_flags(end), PF_R | PF_W);
    let sizes = [stack.p_filesz(end), stack.p_memsz(end)];
    assert_eq!(sizes.map(Into::into), [0; 2]);
}
