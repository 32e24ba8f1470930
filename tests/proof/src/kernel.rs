//! What is assumed of Linux, per platform: how it enters a program, and what a system call keeps.

use crate::isa::{Isa, arm, arm64, ppc64le, riscv64, s390x, x86};

pub struct Platform {
    /// The architecture, as OCI calls it.
    pub name: &'static str,
    /// The same in seccomp, if a profile may name it (`SCMP_ARCH_`): not where the byte order is
    /// another, which libseccomp does not mix, and not riscv64, which runc 1.1 does not know. A runtime
    /// adds that of its own machine.
    pub seccomp: Option<&'static str>,
    pub isa: &'static Isa,
    /// ELF's e_machine, e_flags, and what p_align has to be: the largest page that a kernel has.
    pub machine: u64,
    pub elf_flags: u64,
    pub page: u64,
    /// The system calls of pause, with their numbers (`arch/*/include/uapi/asm/unistd.h`).
    pub calls: &'static str,
    /// The registers of a system call: its number, four arguments, the answer; and the stack pointer
    /// (syscall(2)).
    pub registers: [&'static str; 7],
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
    /// What `sa_flags` must have: x86 has no other way back from a handler, and x86_64 refuses one
    /// without (`arch/x86/kernel/signal_64.c`).
    pub flags: u64,
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
    pub fn bytes(&self) -> i64 {
        i64::from(self.isa.bits / 8)
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
        self.registers[6]
    }
}

const SA_RESTORER: u64 = 0x0400_0000;

pub const PLATFORMS: [Platform; 7] = [
    Platform {
        name: "386",
        seccomp: Some("X86"),
        isa: &x86::I386,
        machine: 3,
        calls: "getpid 20, write 4, rt_sigaction 174, wait4 114, pause 29, exit_group 252",
        registers: ["eax", "ebx", "ecx", "edx", "esi", "eax", "esp"],
        signal: None,
        lost: "",
        takes_slots: false,
        ..AMD64
    },
    AMD64,
    Platform {
        name: "arm",
        seccomp: Some("ARM"),
        isa: &arm::ISA,
        machine: 40,
        calls: "getpid 20, write 4, rt_sigaction 174, wait4 114, pause 29, exit_group 248",
        registers: ["r7", "r0", "r1", "r2", "r3", "r0", "sp"],
        elf_flags: 0x0500_0200,
        signal: Some("r0"),
        word: None,
        filler: 2,
        ..ARM64
    },
    ARM64,
    Platform {
        name: "ppc64le",
        seccomp: Some("PPC64LE"),
        isa: &ppc64le::ISA,
        machine: 21,
        calls: "getpid 20, write 4, rt_sigaction 173, wait4 114, pause 29, exit_group 234",
        registers: ["r0", "r3", "r4", "r5", "r6", "r3", "r1"],
        elf_flags: 2,
        lost: "r0 r4 r5 r6 r7 r8 r9 r10 r11 r12",
        error: Some("so"),
        signal: Some("r3"),
        entry: Some("r12"),
        word: None,
        filler: 12,
        ..ARM64
    },
    Platform {
        name: "riscv64",
        seccomp: None,
        isa: &riscv64::ISA,
        machine: 243,
        registers: ["a7", "a0", "a1", "a2", "a3", "a0", "sp"],
        elf_flags: 5,
        signal: Some("a0"),
        has_restorer: false,
        word: None,
        ..ARM64
    },
    Platform {
        name: "s390x",
        seccomp: None,
        isa: &s390x::ISA,
        machine: 22,
        calls: "getpid 20, write 4, rt_sigaction 174, wait4 114, pause 29, exit_group 248",
        registers: ["%r1", "%r2", "%r3", "%r4", "%r5", "%r2", "%r15"],
        page: 0x1000,
        signal: Some("%r2"),
        save_area: 160,
        word: Some((0, 3)),
        ..ARM64
    },
];

const AMD64: Platform = Platform {
    name: "amd64",
    seccomp: Some("X86_64"),
    isa: &x86::X86_64,
    machine: 62,
    calls: "getpid 39, write 1, rt_sigaction 13, wait4 61, pause 34, exit_group 231",
    registers: ["rax", "rdi", "rsi", "rdx", "r10", "rax", "rsp"],
    page: 0x1000,
    lost: "rcx r11",
    signal: Some("rdi"),
    flags: SA_RESTORER,
    takes_slots: true,
    word: Some((0, 3)),
    ..ARM64
};

const ARM64: Platform = Platform {
    name: "arm64",
    seccomp: Some("AARCH64"),
    isa: &arm64::ISA,
    machine: 183,
    calls: "getpid 172, write 64, rt_sigaction 134, wait4 260, ppoll 73, exit_group 94",
    registers: ["x8", "x0", "x1", "x2", "x3", "x0", "sp"],
    elf_flags: 0,
    page: 0x10000,
    lost: "",
    error: None,
    signal: Some("x0"),
    entry: None,
    save_area: 0,
    flags: 0,
    has_restorer: true,
    takes_slots: false,
    word: Some((-1, 2)),
    filler: 0,
};
