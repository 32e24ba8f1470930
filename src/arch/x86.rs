//! What i386 needs: `arch/x86/kernel/process_32.c` and `signal_32.c` in the kernel, and the System V
//! ABI's Intel386 supplement. Parameters are on the stack, and no instruction addresses memory relative
//! to itself.

use super::portable;
use crate::{MASK, MESSAGES, start_or_handle};
use core::{
    arch::{asm, naked_asm},
    ffi::c_int,
    mem::offset_of,
};
use linux_raw_sys::general::SA_RESTORER;

pub use portable::{
    IGNORE_OFFSET, Int, is_version_flag_by_word as is_version_flag,
    line_position_by_constant as line_position, next_argument, pause as sleep,
    syscall_crate as kernel,
};

/// A bit that no signal's number has: SA_RESTORER in word 1, which lies where a handler finds its signal.
pub const NO_SIGNAL: c_int = SA_RESTORER as c_int;

/// How many bits one signal takes in the word of signals: x86 extracts a byte in one instruction.
pub const SIGNAL_BITS: u32 = 8;

/// The program's first instructions. The [module](super) shows the words that they write.
///
/// # Safety
///
/// Only the kernel may enter it, with `esp` at argc.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "lea eax, [esp + 8]",     // arguments: after argc and the program's name
        "push {mask}",            // word 3: mask, flags
        "push 1",                 // word 2: restorer, SIG_IGN
        "push {no_signal}",       // word 1: flags, SA_RESTORER
        "call 2f",                // word 0: handler; pushes the address of the next instruction
        "2: mov ecx, [esp + 4]",  // signal: at the start word 1, in a handler the kernel's argument
        "mov edx, eax",           // arguments; falls into entry
        mask = const MASK,
        no_signal = const NO_SIGNAL,
    )
}

/// `_start` falls in here, with the parameters in `ecx` and `edx`.
///
/// # Safety
///
/// Only `_start` may enter it, with what [`start_or_handle`] takes: it never returns.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.entry")]
unsafe extern "fastcall" fn entry(signal: c_int, arguments: *const *const u8) -> ! {
    // Below the arguments are the program's name and argc, and below these the actions' four words.
    let actions = arguments.addr().wrapping_sub(6 * size_of::<usize>());
    // SAFETY: the caller vouches for all of it.
    unsafe { start_or_handle(signal, arguments, actions, sigint_line()) }
}

/// The address of the message for SIGINT.
#[inline(always)]
fn sigint_line() -> usize {
    let address;
    // SAFETY: pushes and pops one word. AT&T syntax, as Intel's refuses the difference of two
    // symbols.
    unsafe {
        asm!(
            "call 2f",    // pushes the address of the next instruction
            "2: popl {0}",
            "addl $({1} + {2} - 2b), {0}",
            out(reg) address,
            sym MESSAGES,
            const offset_of!(crate::Messages, sigint),
            options(nomem, att_syntax),
        )
    };
    address
}
