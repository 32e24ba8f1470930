//! A platform: its processor, how Linux enters a program on it, and what a system call keeps. Each has
//! its row in `isa/`.

use crate::{
    isa::{arm, arm64, loongarch64, ppc64le, riscv64, s390x, x86},
    term::Term,
};
use std::{iter::zip, sync::LazyLock};

pub static PLATFORMS: LazyLock<[Platform; 8]> = LazyLock::new(|| {
    [
        x86::i386(),
        x86::amd64(),
        arm::platform(),
        arm64::platform(),
        loongarch64::platform(),
        ppc64le::platform(),
        riscv64::platform(),
        s390x::platform(),
    ]
});

#[derive(Default)]
pub struct Platform {
    /// The architecture's name in OCI.
    pub name: &'static str,
    /// rustc's name of the target.
    pub triple: &'static str,
    /// Its name in a seccomp profile. s390x has none, as libseccomp does not mix byte
    /// orders, nor have loong64 and riscv64, which runc 1.1 does not know: a runtime adds its machine's own.
    pub seccomp: Option<&'static str>,
    /// What capstone decodes: the architecture, the mode, and an extra mode or the byte order.
    pub decoder: &'static str,
    /// Decodes an instruction of 4 bytes where capstone does not know the processor.
    pub decode: Option<fn(&Self, u32) -> Option<String>>,
    /// Whether addresses are 32 bits long, not 64.
    pub is_32_bit: bool,
    /// Instructions lie at multiples of this, in bytes.
    pub step: i64,
    /// Whether an access to memory needs an address that is a multiple of its size.
    pub aligned: bool,
    /// What the stack pointer must be a multiple of at each instruction, by the ABI.
    pub stack_step: i64,
    /// The registers that pause uses, each as long as an address.
    pub registers: &'static str,
    /// The name of each register's lower 32 bits; writing these clears the upper 32.
    pub halves: &'static str,
    /// The name of each register's lowest byte; writing it keeps the rest.
    pub low_bytes: &'static str,
    /// Registers of one bit.
    pub flags: &'static str,
    /// The instructions, one a row, in the notation of `isa/meaning.rs`.
    pub meanings: &'static [&'static str],
    /// ELF's e_machine and e_flags.
    pub machine: u64,
    pub elf_flags: u64,
    /// ELF's p_align, in bytes: the largest page that a kernel may have.
    pub page: u64,
    /// The system calls that pause makes, and their numbers (`arch/*/include/uapi/asm/unistd.h`).
    pub calls: &'static str,
    /// The registers of a system call (syscall(2)): its number, four arguments, the answer. The last is
    /// the stack pointer.
    pub call: [&'static str; 7],
    /// The other registers that a system call changes. All flags are taken to change.
    pub lost: &'static str,
    /// The flag that marks an error, which is then a positive number. Elsewhere an error is negative.
    pub error: Option<&'static str>,
    /// The register in which a handler finds its signal. On 386 the signal is on the stack, above the
    /// return address.
    pub signal: Option<&'static str>,
    /// The register that holds the address of the entry or of the handler (ELF V2 ABI).
    pub entry: Option<&'static str>,
    /// The bytes above a handler's stack pointer that the handler may write: the kernel leaves room for
    /// the register save area of the s390x ABI.
    pub save_area: i64,
    /// The flags of an action with a handler. x86 can only return from a handler by SA_RESTORER, and
    /// x86_64 refuses one without (`arch/x86/kernel/signal_64.c`). SA_NOCLDSTOP is for SIGCHLD alone.
    pub sa_flags: u64,
    /// Whether `struct sigaction` lacks the restorer between flags and mask.
    pub no_restorer: bool,
    /// Whether the start overwrites argc and the pointer to the name, which nobody reads again.
    pub takes_slots: bool,
    /// The first and the last byte, counted from an argument's first, that may be read even after its
    /// end, as a whole word is compared. They exist: argc and the pointers lie below the strings, the
    /// file's name and eight zero bytes above (`fs/exec.c`, `fs/binfmt_elf.c`).
    pub word: Option<(i64, i64)>,
    /// Bytes that nothing reads: they align what follows, or end a function (traceback table).
    pub filler: usize,
}

impl Platform {
    /// The length of an address, in bits.
    pub fn bits(&self) -> u32 {
        if self.is_32_bit { 32 } else { 64 }
    }

    /// The length of an address, in bytes.
    pub fn bytes(&self) -> i64 {
        i64::from(self.bits() / 8)
    }

    /// The names of the system calls, and their numbers.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let pairs = self.calls.split(", ").filter_map(|it| it.split_once(' '));
        pairs.map(|(name, number)| (name, number.parse().expect("it is a number")))
    }

    /// The stack pointer.
    pub fn stack(&self) -> &'static str {
        self.call[6]
    }

    pub fn is_big_endian(&self) -> bool {
        self.decoder.ends_with("big")
    }

    /// Whether the lowest bit of a code address says that it is Thumb.
    pub fn is_thumb(&self) -> bool {
        self.decoder.ends_with("thumb")
    }

    /// The processor's state: its registers and flags, each with its length in bits.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let registers = self.registers.split(' ').map(|it| (it, self.bits()));
        registers.chain(self.flags.split_terminator(' ').map(|it| (it, 1)))
    }

    /// The register that a name is of, and how many of its bits. A name that is always 0 is of none.
    pub fn find(&self, name: &str) -> Option<(Option<&'static str>, u32)> {
        let whole = |part: (&str, _)| (part.0 == name).then_some(Some(part.1));
        let among = |parts: &str| zip(parts.split(' '), self.registers.split(' ')).find_map(whole);
        match name {
            "zero" | "xzr" => Some((None, 64)),
            "wzr" => Some((None, 32)),
            _ if let Some(whole) = among(self.halves) => Some((whole, 32)),
            _ if let Some(whole) = among(self.low_bytes) => Some((whole, 8)),
            _ => {
                let (whole, bits) = self.state().find(|it| it.0 == name)?;
                Some((Some(whole), bits))
            }
        }
    }

    /// The number that bytes of memory make.
    pub fn join(&self, bytes: impl IntoIterator<Item = Term>) -> Term {
        let join = |first: Term, next: Term| match self.is_big_endian() {
            true => first.concat(&next),
            false => next.concat(&first),
        };
        bytes.into_iter().reduce(join).expect("there is one")
    }

    /// The bytes of memory that make a number.
    pub fn split(&self, number: &Term) -> Vec<Term> {
        let bytes = (0..number.bits / 8).map(|it| number.extract(8 * it, 8));
        match self.is_big_endian() {
            true => bytes.rev().collect(),
            false => bytes.collect(),
        }
    }

    /// The bytes of memory that make a known number.
    pub fn bytes_of(&self, number: &Term) -> Vec<u8> {
        let known = |it: &Term| it.known().expect("all are known") as u8;
        self.split(number).iter().map(known).collect()
    }

    /// The number that known bytes make.
    pub fn number(&self, bytes: &[u8]) -> u64 {
        let bytes = bytes.iter().map(|it| Term::number((*it).into(), 8));
        self.join(bytes).known().expect("all are known")
    }
}
