//! s390x: IBM's z/Architecture Principles of Operation.

use crate::platform::Platform;

pub fn platform() -> Platform {
    Platform {
        name: "s390x",
        triple: "s390x-unknown-linux-gnu",
        machine: 22,
        page: 0x1000,
        calls: "getpid 20, write 4, rt_sigaction 174, wait4 114, pause 29, exit_group 248",
        call: ["%r1", "%r2", "%r3", "%r4", "%r5", "%r2", "%r15"],
        signal: Some("%r2"),
        save_area: 160,
        word: Some((0, 3)),
        decoder: "sysz default big",
        step: 2,
        stack_step: 8,
        registers: "%r0 %r1 %r2 %r3 %r4 %r5 %r6 %r7 %r8 %r9 %r10 %r11 %r12 %r13 %r14 %r15",
        flags: "below above",
        meanings: &[MEANINGS],
        ..Platform::default()
    }
}

/// `below` and `above` are the bits of the condition code. CC is what a comparison sets. Nothing reads the
/// condition code of a sum: it is left open.
const MEANINGS: &str = "
CC A, B                  | below = A < B; above = !(A == B) & !(A < B)
la D, [P]                | D = P
larl D, T                | D = T
lgr D, A                 | D = A
lr D, A                  | low(D) = low(A)
lghi D, N                | D = N
lhi/iilf D, N            | low(D) = N
llilh D, N               | D = N << 16
aghi D, N                | D = D + N; below = any; above = any
sgr D, A                 | D = D - A; below = any; above = any
algfr D, A               | D = D + zeros(low(A)); below = any; above = any
msgr D, A                | D = D * A
n D, [P]                 | low(D) = low(D) & [P]; below = !(low(D) & [P] == 0); above = 0
nilf D, N                | low(D) = low(D) & N; below = !(low(D) & N == 0); above = 0
srl D, N                 | low(D) = low(D) >> (N & 63)
# Rotates, and keeps the bits from the first to the last. Added to the last, 128 clears the others.
KEEP D, A, B             | D = A & B; CC A & B, 0
TURN D, A, N, M, K       | KEEP D, A << K | A >> 64 - K, -1 >> N & -1 << 63 - M
risbg D, A, N, M, K      | only !(M - 128 < N) & (M - 128 < 64) & (K < 64); TURN D, A, N, M - 128, K
cfi A, N                 | CC low(A), N
ltg D, [P]               | D = [P]; CC [P], 0
stmg A, B, [P]           | [P] = A .. B
cije A, N, T             | goto T if low(A) == N
cijl A, N, T             | goto T if low(A) < N
cijh A, N, T             | goto T if low(N) < low(A)
je T                     | goto T if !(below | above)
jlh T                    | goto T if below ^ above
j T                      | goto T
svc 0                    | kernel
";
