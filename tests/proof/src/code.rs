//! The machine code of the file, taken apart.

use crate::{Arch, Binary, elf};
use capstone::{Capstone, arch::BuildsCapstone};
use std::ops::Range;

/// An instruction, with its place in the file in bytes.
pub struct Instruction {
    pub place: Range<usize>,
    /// As an assembler takes it (Intel's syntax, ARM's).
    pub text: String,
    /// Whether it may go on in two places.
    pub is_conditional: bool,
}

/// Where the first message begins, and with it the code ends.
pub fn end(file: &[u8]) -> usize {
    let first = b"Shutting down, got signal: ";
    let found = file.windows(first.len()).position(|it| it == first);
    found.expect("the messages are in the file")
}

/// A disassembler for that processor.
pub fn disassembler(arch: Arch) -> Capstone {
    match arch {
        Arch::Amd64 => {
            let mode = capstone::arch::x86::ArchMode::Mode64;
            Capstone::new().x86().mode(mode).build()
        }
        Arch::Arm64 => {
            let mode = capstone::arch::arm64::ArchMode::Arm;
            Capstone::new().arm64().mode(mode).build()
        }
    }
    .expect("capstone has both architectures")
}

/// The instructions of that file, one behind the other, addresses being those of the file.
///
/// # Panics
///
/// Where there is something between them that is none.
pub fn instructions(binary: &Binary) -> Vec<Instruction> {
    let place = elf::CODE..end(&binary.bytes);
    let code = &binary.bytes[place.clone()];
    let disassembler = disassembler(binary.arch);
    let found = disassembler.disasm_all(code, place.start as u64).unwrap();
    let mut next = place.start;
    let instructions = found
        .iter()
        .map(|it| {
            let start = it.address() as usize;
            assert_eq!(start, next, "no instruction");
            next = start + it.len();
            let mnemonic = it.mnemonic().unwrap();
            let operands = it.op_str().unwrap();
            Instruction {
                place: start..next,
                text: format!("{mnemonic} {operands}").trim_end().to_owned(),
                is_conditional: is_conditional(mnemonic),
            }
        })
        .collect();
    assert_eq!(next, place.end, "no instruction");
    instructions
}

fn is_conditional(mnemonic: &str) -> bool {
    let jump = mnemonic.starts_with('j') && mnemonic != "jmp" || mnemonic.starts_with("loop");
    let branch = ["b.", "cb", "tb"];
    jump || branch.iter().any(|it| mnemonic.starts_with(it))
}
