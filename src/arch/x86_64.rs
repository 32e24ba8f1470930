//! What x86_64 needs: `arch/x86/kernel/process_64.c` and `signal_64.c` in the kernel,
//! and the System V ABI's x86-64 supplement.

use super::portable;
use crate::MASK;
use core::arch::{asm, naked_asm};
use linux_raw_sys::general::SA_RESTORER;

pub use portable::{
    IGNORE_OFFSET, Int, NO_SIGNAL, is_version_flag_by_word as is_version_flag,
    line_position_by_constant as line_position, pause as sleep, syscall_crate as kernel,
};

/// How many bits one signal takes in the word of signals: x86 extracts a byte in one instruction.
pub const SIGNAL_BITS: u32 = 8;

/// The program's first instructions. The [module](super) shows the words that they write.
/// What they push overwrites argc and the pointer to the program's name, which nobody reads again.
///
/// # Safety
///
/// Only the kernel may enter it, with `rsp` at argc.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "pop rax",       // drop argc: a null pointer ends the arguments as well
        "pop rax",       // drop the program's name, which is no argument
        "mov rsi, rsp",  // arguments
        "push -1",       // signal: NO_SIGNAL is its sign
        "pop rdi",       // (below 128, push and pop are the shortest move)
        "push {mask}",   // word 3: mask, flags
        "push 1",        // word 2: restorer, SIG_IGN
        "push {flags}",  // word 1: flags
        "call 2f",       // word 0: handler; pushes the address of the next instruction
        "2:",
        "mov r8, rsp",   // actions; falls into entry
        mask = const MASK,
        flags = const SA_RESTORER, // without it the kernel answers a signal with SIGSEGV
    )
}

/// [`super::portable::next_argument`] in fewer bytes.
///
/// # Safety
///
/// As there.
#[inline(always)]
pub unsafe fn next_argument(arguments: &mut *const *const u8) -> *const u8 {
    let argument;
    // SAFETY: the caller vouches for this one pointer. The instruction has two bytes; the compiler's
    // load and addition have seven. asm! guarantees that DF is clear.
    unsafe {
        asm!("lodsq", inout("rsi") *arguments, out("rax") argument, options(readonly, nostack, preserves_flags));
    }
    argument
}
