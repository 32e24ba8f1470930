//! powerpc64, little-endian: the Power ISA, book I.

use crate::platform::Platform;

pub fn platform() -> Platform {
    Platform {
        name: "ppc64le",
        triple: "powerpc64le-unknown-linux-gnu",
        seccomp: Some("SCMP_ARCH_PPC64LE"),
        machine: 21,
        elf_flags: 2,
        page: 0x10000,
        calls: "getpid 20, write 4, rt_sigaction 173, wait4 114, pause 29, exit_group 234",
        call: ["r0", "r3", "r4", "r5", "r6", "r3", "r1"],
        lost: "r0 r4 r5 r6 r7 r8 r9 r10 r11 r12",
        error: Some("so"),
        signal: Some("r3"),
        entry: Some("r12"),
        filler: 12,
        decoder: "ppc mode64 little",
        step: 4,
        stack_step: 16,
        registers: "r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 r13 r14 r15 r16 r17 r18 r19 r20 r21 r22 \
                r23 r24 r25 r26 r27 r28 r29 r30 r31",
        flags: "lt gt eq so xer.so",
        meanings: &[MEANINGS],
        ..Platform::default()
    }
}

/// CR is what a comparison sets. `addi` takes register 0 for the number 0, and capstone prints it as that.
const MEANINGS: &str = "
CR A, B                  | lt = A; gt = !(A | B); eq = B; so = xer.so
addi D, A, N             | D = A + N
li D, N                  | D = N
lis D, N                 | D = N << 16
mr D, A                  | D = A
add D, A, B              | D = A + B
mulld D, A, B            | D = A * B
subf D, A, B             | D = B - A
neg D, A                 | D = 0 - A
andi. D, A, N            | D = A & N; CR sign(A & N), A & N == 0
srwi D, A, N             | D = zeros(low(A) >> N)
clrlwi D, A, N           | D = A & 0xffffffff >> N
# Only masks that do not wrap around.
rlwinm D, A, 0, N, M     | only !(M < N); D = A & (0xffffffff >> N & 0xffffffff << 31 - M)
cmpwi A, N               | CR low(A) < N, low(A) == N
cmplwi A, N              | CR low(A) <u N, low(A) == N
cmpldi A, N              | CR A <u N, A == N
std A, [P]               | [P] = A
stdu A, [N + B]          | [N + B] = A; B = N + B
lbz D, [P]               | D = byte(P)
ldu D, [N + A]           | A = N + A; D = [N + A]
b T                      | goto T
blt T                    | goto T if lt
ble T                    | goto T if !gt
bgt T                    | goto T if gt
beq T                    | goto T if eq
bne T                    | goto T if !eq
bns T                    | goto T if !so
sc                       | kernel
";
