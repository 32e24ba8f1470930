//! What x86_64 needs: `arch/x86/kernel/process_64.c` and `signal_64.c` in the kernel,
//! and the System V ABI's x86-64 supplement.

use super::portable;
use crate::MASK;
use core::arch::{asm, naked_asm};
use linux_raw_sys::general::SA_RESTORER;

pub use portable::{
    IGNORE, START, crates as kernel, is_version_flag_by_word as is_version_flag,
    line_for_by_constant as line_for, pause as sleep,
};

/// Bits that one signal takes in the word of signals: x86 takes out a byte in one instruction.
pub const SIGNAL_BITS: u32 = 8;

/// Where the kernel enters the program, and, at the label, where it delivers a signal.
///
/// Calls nothing and never returns: it falls into `run`, which linker.ld puts behind it. What it
/// pushes goes over argc and the pointer to the program's name, and below: nobody reads those again.
///
/// # Safety
///
/// Only the kernel may enter it: `rsp` points at argc, the pointers to the arguments follow.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "pop rax",       // drop argc: a null pointer ends the arguments as well
        "pop rax",       // drop the program's name, which is no argument
        "mov rsi, rsp",  // arguments
        "push -1",       // signal: none, the program starts
        "pop rdi",       // (below 128, push and pop are the shortest move)
        "push {mask}",   // shut down's mask; ignore's flags: SA_NOCLDWAIT, which goes without
                         // saying, and one that has no meaning
        "push 1",        // shut down's restorer, which is none; ignore's handler: SIG_IGN
        "push {flags}",  // shut down's flags
        "call 2f",       // shut down's handler: pushes the address of the next instruction
        "2:",
        "mov r8, rsp",   // actions, where the program starts; falls into run
        mask = const MASK,
        flags = const SA_RESTORER, // without it the kernel answers a signal with SIGSEGV
    )
}

/// The argument that `arguments` points at, or null behind the last; moves on to the next.
///
/// # Safety
///
/// `arguments` points into an array of pointers that null ends, and not behind its end.
#[inline(always)]
pub unsafe fn next_argument(arguments: &mut *const *const u8) -> *const u8 {
    let argument;
    // SAFETY: reads the one pointer that the caller vouches for. It is one instruction of two
    // bytes, where the compiler takes a load and an addition of seven. asm! has DF clear.
    unsafe {
        asm!("lodsq", inout("rsi") *arguments, out("rax") argument, options(readonly, nostack, preserves_flags));
    }
    argument
}
