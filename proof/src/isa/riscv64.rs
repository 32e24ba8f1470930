//! RV64IMC: the RISC-V Instruction Set Manual, volume I.

use crate::platform::Platform;

pub fn platform() -> Platform {
    Platform {
        name: "riscv64",
        triple: "riscv64gc-unknown-linux-gnu",
        machine: 243,
        elf_flags: 5,
        page: 0x10000,
        calls: "getpid 172, write 64, rt_sigaction 134, wait4 260, ppoll 73, exit_group 94",
        call: ["a7", "a0", "a1", "a2", "a3", "a0", "sp"],
        signal: Some("a0"),
        no_restorer: true,
        decoder: "riscv riscv64 riscvc",
        step: 2,
        stack_step: 16,
        aligned: true,
        registers: "ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 \
                t3 t4 t5 t6",
        meanings: &[MEANINGS],
        ..Platform::default()
    }
}

/// In short forms an operand is often both source and target. Branches are relative to the instruction.
const MEANINGS: &str = "
li/mv/c.li/c.mv D, X     | D = X
lui/c.lui D, N           | D = signs(N << 12)
auipc D, N               | D = at + signs(N << 12)
add/addi/c.addi4spn D, A, X | D = A + X
c.add/c.addi/c.addi16sp D, X | D = D + X
sub D, A, B              | D = A - B
mul D, A, B              | D = A * B
and/andi D, A, X         | D = A & X
c.and D, A               | D = D & A
addiw D, A, N            | D = signs(A + N)
c.addiw D, N             | D = signs(D + N)
srliw D, A, N            | D = signs(low(A) >> N)
srli D, A, N             | D = A >> N
c.srli D, N              | D = D >> N
seqz D, A                | D = zeros(A == 0)
c.sdsp A, [P]            | [P] = A
ld/c.ld D, [P]           | D = [P]
lbu D, [P]               | D = byte(P)
j/c.j N                  | goto at + N
beqz/c.beqz A, N         | goto at + N if A == 0
bnez/c.bnez A, N         | goto at + N if !(A == 0)
bltz A, N                | goto at + N if sign(A)
beq A, B, N              | goto at + N if A == B
blt A, B, N              | goto at + N if A < B
ecall                    | kernel
";
