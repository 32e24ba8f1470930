//! i386 and x86_64: Intel's Software Developer's Manual, volume 2.

use super::Isa;
use capstone::{Arch, Mode};

pub const I386: Isa = Isa {
    decoder: (Arch::X86, Mode::Mode32, None, None),
    bits: 32,
    step: 1,
    registers: "eax ecx edx ebx esp ebp esi edi",
    low_bytes: "al cl dl bl",
    flags: "cf zf sf of",
    meanings: &[ONLY_32, BOTH],
    ..Isa::PLAIN
};

pub const X86_64: Isa = Isa {
    decoder: (Arch::X86, Mode::Mode64, None, None),
    bits: 64,
    registers: "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15",
    halves: "eax ebx ecx edx esi edi ebp esp r8d r9d r10d r11d r12d r13d r14d r15d",
    low_bytes: "al bl cl dl sil dil bpl spl",
    meanings: &[ONLY_64, BOTH],
    ..I386
};

const ONLY_32: &str = "
push X                   | mem(esp - 4) = X; esp = esp - 4
pop D                    | esp = esp + 4; D = mem(esp)
bt A, N                  | cf = bit(A, N & 31)
int 0x80                 | kernel
";

/// The direction flag is clear wherever the kernel enters (System V ABI).
const ONLY_64: &str = "
push X                   | mem(rsp - 8) = X; rsp = rsp - 8
pop D                    | rsp = rsp + 8; D = mem(rsp)
lea D, [rip + N]         | D = next + N
lodsq rax, qword ptr [rsi] | rax = mem(rsi); rsi = rsi + 8
syscall                  | kernel
";

const BOTH: &str = "
FLAGS A, B, C            | zf = A == 0; sf = sign(A); cf = B; of = C
mov D, X                 | D = X
mov P, A                 | mem(P) = A
movzx D, A               | D = zeros(A)
xchg A, B                | A = B; B = A
lea D, P                 | D = P
add D, X                 | D = D + X; FLAGS D + X, D + X <u D, sign((D ^ D + X) & (D + X ^ X))
cmp D, X                 | FLAGS D - X, D <u X, sign((D ^ X) & (D ^ D - X))
sub D, X                 | D = D - X; cmp D, X
test D, X                | FLAGS D & X, 0, 0
and D, X                 | D = D & X; FLAGS D & X, 0, 0
xor D, X                 | D = D ^ X; FLAGS D ^ X, 0, 0
# Carry stays as it is.
inc D                    | D = D + 1; FLAGS D + 1, cf, sign((D + 1 ^ D) & D + 1)
dec D                    | D = D - 1; FLAGS D - 1, cf, sign((D - 1 ^ D) & D)
shr D, 1                 | D = D >> 1; FLAGS D >> 1, bit(D, 0), sign(D)
shr D, N                 | D = D >> N; FLAGS D >> N, bit(D, N - 1), any
# Of the flags, two are undefined, and nothing looks at the others.
imul D, A, N             | D = A * N; cf = any; zf = any; sf = any; of = any
call T                   | push next; goto T
jmp T                    | goto T
je T                     | goto T if zf
jne T                    | goto T if !zf
jb T                     | goto T if cf
js T                     | goto T if sf
jg T                     | goto T if !zf & (sf == of)
";
