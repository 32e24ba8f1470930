//! A platform: its processor, and what is assumed of Linux on it: how it enters a program, and what a
//! system call keeps. `isa/` has a row for each.

use crate::{
    isa::{arm, arm64, ppc64le, riscv64, s390x, x86},
    term::Term,
};
use capstone::{Arch, Endian, ExtraMode, Mode};
use std::iter::zip;

pub const PLATFORMS: [Platform; 7] = [
    x86::I386,
    x86::AMD64,
    arm::ARM,
    arm64::ARM64,
    ppc64le::PPC64LE,
    riscv64::RISCV64,
    s390x::S390X,
];

pub struct Platform {
    /// The architecture, as OCI calls it.
    pub name: &'static str,
    /// The same in seccomp, if a profile may name it (`SCMP_ARCH_`): not where the byte order is
    /// another, which libseccomp does not mix, and not riscv64, which runc 1.1 does not know. A runtime
    /// adds that of its own machine.
    pub seccomp: Option<&'static str>,
    pub decoder: (Arch, Mode, Option<ExtraMode>, Option<Endian>),
    /// Of an address.
    pub bits: u32,
    pub is_big_endian: bool,
    /// What an instruction's address is a multiple of, in bytes.
    pub step: i64,
    /// Whether access to memory wants addresses that are a multiple of what is accessed; and sp, where
    /// it leads there, one of 16.
    pub aligned: bool,
    pub aligned_stack: bool,
    /// Of as many bits as an address. All else that the processor has is nothing to pause.
    pub registers: &'static str,
    /// Names of the lower 32 bits of each, which have zeros put above them when written; and of the
    /// lowest byte, above which all stays.
    pub halves: &'static str,
    pub low_bytes: &'static str,
    /// Registers of few bits, which no instruction names.
    pub flags: &'static str,
    pub flag_bits: u32,
    /// Rows as `isa/meaning.rs` says.
    pub meanings: &'static [&'static str],
    /// ELF's e_machine, e_flags, and what p_align has to be: the largest page that a kernel has.
    pub machine: u64,
    pub elf_flags: u64,
    pub page: u64,
    /// The system calls of pause, with their numbers (`arch/*/include/uapi/asm/unistd.h`).
    pub calls: &'static str,
    /// The registers of a system call: its number, four arguments, the answer; and the stack pointer
    /// (syscall(2)).
    pub call: [&'static str; 7],
    /// What else a system call does not keep; flags are taken not to be, anywhere.
    pub lost: &'static str,
    /// The flag that tells an error, which is positive then; without one, errors are negative.
    pub error: Option<&'static str>,
    /// Where a handler finds the signal: in that register, or on the stack, above the address to
    /// return to.
    pub signal: Option<&'static str>,
    /// The register with the address of the entry or the handler, if one has it (ELF V2 ABI).
    pub entry: Option<&'static str>,
    /// Bytes above the stack pointer of a handler that are the handler's own to write (s390x ABI's
    /// register save area, which the kernel leaves room for).
    pub save_area: i64,
    /// What an action must have of flags: x86 has no other way back from a handler, and x86_64 refuses one
    /// without (`arch/x86/kernel/signal_64.c`).
    pub sa_flags: u64,
    /// Whether a `struct sigaction` has a restorer, between flags and mask.
    pub has_restorer: bool,
    /// Whether its start writes over argc and the pointer to the name, as nobody reads them again.
    pub takes_slots: bool,
    /// The bytes of an argument, from its first on, that it may read wherever the string ends: a
    /// word is compared at once. They are there, as argc and pointers lie below the strings, and the
    /// file's name and eight zero bytes above (`fs/exec.c`, `fs/binfmt_elf.c`).
    pub word: Option<(i64, i64)>,
    /// Bytes that nothing looks at, which align what follows or end a function (traceback table).
    pub filler: usize,
}

impl Platform {
    /// What most have in common.
    pub const PLAIN: Self = Self {
        name: "",
        seccomp: None,
        decoder: (Arch::X86, Mode::Mode64, None, None),
        bits: 64,
        is_big_endian: false,
        step: 1,
        aligned: false,
        aligned_stack: false,
        registers: "",
        halves: "",
        low_bytes: "",
        flags: "",
        flag_bits: 1,
        meanings: &[],
        machine: 0,
        elf_flags: 0,
        page: 0x10000,
        calls: "",
        call: [""; 7],
        lost: "",
        error: None,
        signal: None,
        entry: None,
        save_area: 0,
        sa_flags: 0,
        has_restorer: true,
        takes_slots: false,
        word: None,
        filler: 0,
    };

    /// Of an address.
    pub fn bytes(&self) -> i64 {
        i64::from(self.bits / 8)
    }

    /// The names of the system calls, and their numbers.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let pair = |it: &'static str| it.split_once(' ').expect("a name and a number");
        let number = |it: &str| it.parse().expect("a number");
        let pairs = self.calls.split(", ").map(pair);
        pairs.map(move |(name, it)| (name, number(it)))
    }

    /// The stack pointer.
    pub fn stack(&self) -> &'static str {
        self.call[6]
    }

    /// Whether the lowest bit of an address of code says that it is Thumb.
    pub fn is_thumb(&self) -> bool {
        matches!(self.decoder.1, Mode::Thumb)
    }

    /// All that a processor's state is, with the bits of each.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let registers = self.registers.split(' ').map(|it| (it, self.bits));
        let flags = self.flags.split_terminator(' ');
        registers.chain(flags.map(|it| (it, self.flag_bits)))
    }

    /// Of which register this is a name, and of how many bits of it. Some are always 0, and none.
    pub fn find(&self, name: &str) -> Option<(Option<&'static str>, u32)> {
        let whole = |part: (&str, _)| (part.0 == name).then_some(Some(part.1));
        let among = |parts: &str| zip(parts.split(' '), self.registers.split(' ')).find_map(whole);
        Some(match name {
            "zero" | "xzr" => (None, 64),
            "wzr" => (None, 32),
            _ if let Some(whole) = among(self.halves) => (whole, 32),
            _ if let Some(whole) = among(self.low_bytes) => (whole, 8),
            _ => self
                .state()
                .find(|it| it.0 == name)
                .map(|it| (Some(it.0), it.1))?,
        })
    }

    /// The number that these bytes of memory are.
    pub fn join(&self, bytes: impl IntoIterator<Item = Term>) -> Term {
        let mut bytes: Vec<Term> = bytes.into_iter().collect();
        if !self.is_big_endian {
            bytes.reverse();
        }
        let joined = bytes.into_iter().reduce(|high, low| high.concat(&low));
        joined.expect("there is one")
    }

    /// And the other way.
    pub fn split(&self, number: &Term) -> Vec<Term> {
        let bytes = (0..number.bits / 8).map(|it| number.extract(8 * it, 8));
        let mut bytes: Vec<Term> = bytes.collect();
        if self.is_big_endian {
            bytes.reverse();
        }
        bytes
    }

    /// The number that these bytes are.
    pub fn number(&self, bytes: &[u8]) -> u64 {
        let bytes = bytes.iter().map(|it| Term::number((*it).into(), 8));
        self.join(bytes).known().expect("all are known")
    }
}
