//! s390x: IBM's z/Architecture Principles of Operation.

use super::Isa;
use capstone::{Arch, Endian, Mode};

pub const ISA: Isa = Isa {
    decoder: (Arch::SYSZ, Mode::Default, None, Some(Endian::Big)),
    is_big_endian: true,
    step: 2,
    registers: "%r0 %r1 %r2 %r3 %r4 %r5 %r6 %r7 %r8 %r9 %r10 %r11 %r12 %r13 %r14 %r15",
    flags: "cc",
    flag_bits: 2,
    meanings: &[MEANINGS],
    ..Isa::PLAIN
};

/// CC is what comparing sets. Nothing looks at the condition code of the sums: it is any.
const MEANINGS: &str = "
CC A, B                  | cc = choose(A == B, 0, choose(A < B, 1, 2))
la D, P                  | D = P
larl D, T                | D = T
lgr D, A                 | D = A
lr D, A                  | low(D) = low(A)
lghi D, N                | D = N
lhi/iilf D, N            | low(D) = N
llilh D, N               | D = N << 16
aghi D, N                | D = D + N; cc = any
sgr D, A                 | D = D - A; cc = any
algfr D, A               | D = D + zeros(low(A)); cc = any
msgr D, A                | D = D * A
n D, P                   | low(D) = low(D) & mem(P); cc = zeros(!(low(D) & mem(P) == 0))
nilf D, N                | low(D) = low(D) & N; cc = zeros(!(low(D) & N == 0))
srl D, N                 | low(D) = low(D) >> (N & 63)
# Turns, and keeps the bits from the first to the last, of which 128 clears the others.
KEEP D, A, B             | D = A & B; CC A & B, 0
TURN D, A, N, M, K       | KEEP D, A << K | A >> 64 - K, -1 >> N & -1 << 63 - M
risbg D, A, N, M, K      | only !(M - 128 < N) & (M - 128 < 64); TURN D, A, N, M - 128, K & 63
cfi A, N                 | CC low(A), N
ltg D, P                 | D = mem(P); CC mem(P), 0
stmg A, B, P             | mem(P) = A .. B
cije A, N, T             | goto T if low(A) == N
cijl A, N, T             | goto T if low(A) < N
cijh A, N, T             | goto T if low(N) < low(A)
je T                     | goto T if cc == 0
jlh T                    | goto T if (cc == 1) | (cc == 2)
j T                      | goto T
svc 0                    | kernel
";
