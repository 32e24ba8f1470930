//! Thumb, as far as Armv6-M has it: the Armv6-M Architecture Reference Manual, part A6.

use crate::platform::Platform;

pub fn platform() -> Platform {
    Platform {
        name: "arm",
        triple: "thumbv6m-none-eabi",
        seccomp: Some("SCMP_ARCH_ARM"),
        machine: 40,
        elf_flags: 0x0500_0200,
        page: 0x10000,
        calls: "getpid 20, write 4, rt_sigaction 174, wait4 114, pause 29, exit_group 248",
        call: ["r7", "r0", "r1", "r2", "r3", "r0", "sp"],
        signal: Some("r0"),
        filler: 2,
        decoder: "arm thumb",
        is_32_bit: true,
        step: 2,
        stack_step: 4,
        aligned: true,
        registers: "r0 r1 r2 r3 r4 r5 r6 r7 r8 sb sl fp ip sp lr",
        flags: "n z c v",
        meanings: &[BOTH, MEANINGS],
        ..Platform::default()
    }
}

/// The rows that AArch64 has as well. NZ, MINUS and PLUS are the flags of a result, a subtraction and an
/// addition.
pub const BOTH: &str = "
NZ A                     | n = sign(A); z = A == 0
MINUS A, B               | NZ A - B; c = !(A <u B); v = sign((A ^ B) & (A ^ A - B))
PLUS A, B                | NZ A + B; c = A + B <u A; v = sign((A ^ A + B) & (A + B ^ B))
b T                      | goto T
beq/b.eq T               | goto T if z
bne/b.ne T               | goto T if !z
bmi/b.mi T               | goto T if n
bgt/b.gt T               | goto T if !z & (n == v)
svc 0                    | kernel
";

const MEANINGS: &str = "
mov D, A                 | D = A
movs D, N                | D = N; NZ N
mvns D, A                | D = !A; NZ !A
add D, pc                | D = D + (at + 4)
add D, sp, N             | D = sp + N
adds D, A, X             | D = A + X; PLUS A, X
adds D, X                | D = D + X; PLUS D, X
subs D, A, X             | D = A - X; MINUS A, X
cmp A, X                 | MINUS A, X
ands D, A                | D = D & A; NZ D & A
muls D, A, B             | D = D * A; NZ D * A
lsls D, A, N             | D = A << N; NZ A << N; c = bit(32 - N in A)
lsrs D, A, N             | D = A >> N; NZ A >> N; c = bit(N - 1 in A)
adr D, N                 | D = words + N
ldr D, [pc + N]          | D = [words + N]
ldr D, [P]               | D = [P]
ldrb D, [P]              | D = byte(P)
str A, [P]               | [P] = A
ldm A!, L                | L = [A]; A = A + bytes(L)
push L                   | [sp - bytes(L)] = L; sp = sp - bytes(L)
pop L                    | L = [sp]; sp = sp + bytes(L)
bl T                     | lr = next + 1; goto T
";
