//! LA64: the LoongArch Reference Manual, volume 1. capstone 5 does not know it: `decode` does.

use crate::platform::Platform;
use std::collections::BTreeMap;

pub fn platform() -> Platform {
    Platform {
        name: "loong64",
        triple: "loongarch64-unknown-linux-gnu",
        decode: Some(decode),
        machine: 258,
        elf_flags: 0x43,
        page: 0x10000,
        calls: "getpid 172, write 64, rt_sigaction 134, wait4 260, ppoll 73, exit_group 94",
        call: ["a7", "a0", "a1", "a2", "a3", "a0", "sp"],
        lost: "t0 t1 t2 t3 t4 t5 t6 t7 t8",
        signal: Some("a0"),
        // SA_NOCLDSTOP.
        sa_flags: 1,
        no_restorer: true,
        word: Some((-1, 2)),
        step: 4,
        stack_step: 16,
        registers: "ra tp sp a0 a1 a2 a3 a4 a5 a6 a7 t0 t1 t2 t3 t4 t5 t6 t7 t8 r21 fp s0 s1 s2 s3 s4 s5 \
                s6 s7 s8",
        meanings: &[MEANINGS],
        ..Platform::default()
    }
}

/// Branches are relative to the instruction. The file lies at a multiple of 4 KiB, and is shorter: all of it is
/// where the address without its last 12 bits leads.
const MEANINGS: &str = "
or D, A, B               | D = A | B
ori D, A, N              | D = A | N
andi D, A, N             | D = A & N
add.d/addi.d D, A, X     | D = A + X
addi.w D, A, N           | D = signs(A + N)
sub.d D, A, B            | D = A - B
mul.d D, A, B            | D = A * B
srli.d D, A, N           | D = A >> N
bstrpick.d D, A, M, N    | D = A << 63 - M >> 63 - M + N
PUT D, A, B, N           | D = D & !(B << N) | A << N & B << N
bstrins.d D, A, M, N     | PUT D, A, -1 >> 63 - M + N, N
lu12i.w D, N             | D = signs(N << 12)
pcaddi D, N              | D = at + signs(N << 2)
pcalau12i D, N           | D = file + signs(N << 12)
ld.d D, A, N             | D = [A + N]
ld.wu D, A, N            | D = four(A + N)
st.d D, A, N             | [A + N] = D
b N                      | goto at + N
beqz A, N                | goto at + N if A == 0
bnez A, N                | goto at + N if !(A == 0)
beq A, B, N              | goto at + N if A == B
blt A, B, N              | goto at + N if A < B
syscall 0                | kernel
";

/// How each is written and encoded, from the highest bit to the lowest. In its text stand d, j and k for a
/// register, s for a number with a sign, u, m and l for one without. T and t are the upper and lower bits of how
/// many instructions further it branches.
const ENCODINGS: &str = "
or d, j, k               | 00000000000101010 kkkkk jjjjj ddddd
add.d d, j, k            | 00000000000100001 kkkkk jjjjj ddddd
sub.d d, j, k            | 00000000000100011 kkkkk jjjjj ddddd
mul.d d, j, k            | 00000000000111011 kkkkk jjjjj ddddd
ori d, j, u              | 0000001110 uuuuuuuuuuuu jjjjj ddddd
andi d, j, u             | 0000001101 uuuuuuuuuuuu jjjjj ddddd
addi.d d, j, s           | 0000001011 ssssssssssss jjjjj ddddd
addi.w d, j, s           | 0000001010 ssssssssssss jjjjj ddddd
ld.d d, j, s             | 0010100011 ssssssssssss jjjjj ddddd
ld.wu d, j, s            | 0010101010 ssssssssssss jjjjj ddddd
st.d d, j, s             | 0010100111 ssssssssssss jjjjj ddddd
srli.d d, j, u           | 0000000001000101 uuuuuu jjjjj ddddd
bstrins.d d, j, m, l     | 0000000010 mmmmmm llllll jjjjj ddddd
bstrpick.d d, j, m, l    | 0000000011 mmmmmm llllll jjjjj ddddd
lu12i.w d, s             | 0001010 ssssssssssssssssssss ddddd
pcaddi d, s              | 0001100 ssssssssssssssssssss ddddd
pcalau12i d, s           | 0001101 ssssssssssssssssssss ddddd
b t                      | 010100 tttttttttttttttt TTTTTTTTTT
beqz j, t                | 010000 tttttttttttttttt jjjjj TTTTT
bnez j, t                | 010001 tttttttttttttttt jjjjj TTTTT
beq j, d, t              | 010110 tttttttttttttttt jjjjj ddddd
blt j, d, t              | 011000 tttttttttttttttt jjjjj ddddd
syscall u                | 00000000001010110 uuuuuuuuuuuuuuu
";

/// The instruction as LLVM writes it.
fn decode(platform: &Platform, word: u32) -> Option<String> {
    let registers: Vec<_> = ["zero"]
        .into_iter()
        .chain(platform.registers.split(' '))
        .collect();
    let read = |row: &str| {
        let (text, bits) = row.split_once(" | ")?;
        let mut fields = BTreeMap::new();
        let bits = bits.chars().filter(|it| *it != ' ');
        for (place, kind) in (0..32).rev().zip(bits) {
            let bit = i64::from(word >> place & 1);
            match kind.to_digit(2) {
                Some(wanted) if i64::from(wanted) != bit => return None,
                Some(_) => {}
                None => {
                    let (value, length) = fields.entry(kind).or_insert((0, 0));
                    (*value, *length) = (*value << 1 | bit, *length + 1);
                }
            }
        }
        // The upper bits are in front of the lower.
        let upper = fields.get(&'T').copied().unwrap_or_default();
        let operand = |(kind, (value, length)): (&char, &(i64, u32))| {
            let (value, length) = match kind {
                't' => (upper.0 << length | value, upper.1 + length),
                _ => (*value, *length),
            };
            let signed = value << (64 - length) >> (64 - length);
            let text = match kind {
                'd' | 'j' | 'k' => format!("${}", registers[value as usize]),
                's' => signed.to_string(),
                't' => (4 * signed).to_string(),
                _ => value.to_string(),
            };
            (*kind, text)
        };
        let operands: BTreeMap<_, _> = fields.iter().map(operand).collect();
        let (name, of) = text.trim_end().split_once(' ')?;
        let of = of
            .split(", ")
            .map(|it| &*operands[&it.chars().next().expect("it has a name")]);
        Some(format!("{name} {}", of.collect::<Vec<_>>().join(", ")))
    };
    ENCODINGS.lines().find_map(read)
}
