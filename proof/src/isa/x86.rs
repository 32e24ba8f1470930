//! i386 and x86_64: Intel's Software Developer's Manual, volume 2.

use crate::platform::Platform;

pub fn i386() -> Platform {
    Platform {
        name: "386",
        triple: "i586-unknown-linux-gnu",
        seccomp: Some("SCMP_ARCH_X86"),
        decoder: "x86 mode32",
        is_32_bit: true,
        stack_step: 4,
        registers: "eax ecx edx ebx esp ebp esi edi",
        halves: "",
        low_bytes: "al cl dl bl",
        meanings: &[ONLY_32, BOTH],
        machine: 3,
        calls: "getpid 20, write 4, rt_sigaction 174, wait4 114, pause 29, exit_group 252",
        call: ["eax", "ebx", "ecx", "edx", "esi", "eax", "esp"],
        lost: "",
        signal: None,
        takes_slots: false,
        ..amd64()
    }
}

pub fn amd64() -> Platform {
    Platform {
        name: "amd64",
        triple: "x86_64-unknown-linux-gnu",
        seccomp: Some("SCMP_ARCH_X86_64"),
        decoder: "x86 mode64",
        step: 1,
        stack_step: 8,
        registers: "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15",
        halves: "eax ebx ecx edx esi edi ebp esp r8d r9d r10d r11d r12d r13d r14d r15d",
        low_bytes: "al bl cl dl sil dil bpl spl r8b r9b r10b r11b r12b r13b r14b r15b",
        flags: "cf zf sf of",
        meanings: &[ONLY_64, BOTH],
        machine: 62,
        page: 0x1000,
        calls: "getpid 39, write 1, rt_sigaction 13, wait4 61, pause 34, exit_group 231",
        call: ["rax", "rdi", "rsi", "rdx", "r10", "rax", "rsp"],
        lost: "rcx r11",
        signal: Some("rdi"),
        // SA_RESTORER.
        sa_flags: 0x0400_0000,
        takes_slots: true,
        word: Some((0, 3)),
        ..Platform::default()
    }
}

const ONLY_32: &str = "
push X                   | [esp - 4] = X; esp = esp - 4
call T                   | [esp - 4] = next; esp = esp - 4; goto T
pop D                    | esp = esp + 4; D = [esp]
bt A, N                  | cf = bit(N & 31 in A)
int 0x80                 | kernel
";

/// The direction flag is clear wherever the kernel enters (System V ABI), so that lodsq counts up.
const ONLY_64: &str = "
push X                   | [rsp - 8] = X; rsp = rsp - 8
call T                   | [rsp - 8] = next; rsp = rsp - 8; goto T
pop D                    | rsp = rsp + 8; D = [rsp]
lea D, [rip + N]         | D = next + N
lodsq rax, [rsi]         | rax = [rsi]; rsi = rsi + 8
syscall                  | kernel
";

const BOTH: &str = "
FLAGS A, B, C            | zf = A == 0; sf = sign(A); cf = B; of = C
mov/movabs D, X          | D = X
mov [P], A               | [P] = A
movzx D, A               | D = zeros(A)
sete D                   | D = zeros(zf)
xchg A, B                | A = B; B = A
lea D, [P]               | D = P
add D, X                 | D = D + X; FLAGS D + X, D + X <u D, sign((D ^ D + X) & (D + X ^ X))
cmp D, X                 | FLAGS D - X, D <u X, sign((D ^ X) & (D ^ D - X))
sub D, X                 | D = D - X; cmp D, X
test D, X                | FLAGS D & X, 0, 0
and D, X                 | D = D & X; FLAGS D & X, 0, 0
xor D, X                 | D = D ^ X; FLAGS D ^ X, 0, 0
# These keep the carry flag.
inc D                    | D = D + 1; FLAGS D + 1, cf, sign((D + 1 ^ D) & D + 1)
dec D                    | D = D - 1; FLAGS D - 1, cf, sign((D - 1 ^ D) & D)
shr D, 1                 | D = D >> 1; FLAGS D >> 1, bit(0 in D), sign(D)
shr D, N                 | D = D >> N; FLAGS D >> N, bit(N - 1 in D), any
# Two of the flags are undefined, and nothing reads the others.
imul D, A, N             | D = A * N; cf = any; zf = any; sf = any; of = any
jmp T                    | goto T
je T                     | goto T if zf
jne T                    | goto T if !zf
jb T                     | goto T if cf
js T                     | goto T if sf
jg T                     | goto T if !zf & (sf == of)
";
