//! AArch64: the Arm Architecture Reference Manual, A-profile, part C.

use super::arm::BOTH;
use crate::platform::Platform;

pub fn platform() -> Platform {
    Platform {
        name: "arm64",
        triple: "aarch64-unknown-linux-gnu",
        seccomp: Some("SCMP_ARCH_AARCH64"),
        machine: 183,
        page: 0x10000,
        calls: "getpid 172, write 64, rt_sigaction 134, wait4 260, ppoll 73, exit_group 94",
        call: ["x8", "x0", "x1", "x2", "x3", "x0", "sp"],
        signal: Some("x0"),
        word: Some((-1, 2)),
        decoder: "arm64 arm",
        step: 4,
        stack_step: 16,
        registers: "x0 x1 x2 x3 x4 x5 x6 x7 x8 x9 x10 x11 x12 x13 x14 x15 x16 x17 x18 x19 x20 x21 x22 \
                x23 x24 x25 x26 x27 x28 x29 x30 sp",
        halves: "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20 w21 w22 \
             w23 w24 w25 w26 w27 w28 w29 w30",
        flags: "n z c v",
        meanings: &[BOTH, MEANINGS],
        ..Platform::default()
    }
}

const MEANINGS: &str = "
mov D, X                 | D = X
add D, A, X              | D = A + X
and D, A, X              | D = A & X
lsr D, A, N              | D = A >> N
msub D, A, B, C          | D = C - A * B
adr D, T                 | D = T
stp A, B, [C + N]!       | [C + N] = {A, B}; C = C + N
ldr D, [A], N            | A = A + N; D = [A]
ldur D, [P]              | D = [P]
cmp A, X                 | MINUS A, X
cmp A, B, lsr N          | MINUS A, B >> N
cmn A, X                 | PLUS A, X
tbnz A, N, T             | goto T if bit(N in A)
cbz A, T                 | goto T if A == 0
";
