//! What i386 needs: `arch/x86/kernel/process_32.c` and `signal_32.c` in the kernel, and the System V
//! ABI's Intel386 supplement. Parameters are on the stack, and no address is relative to that of an
//! instruction.

use super::portable;
use crate::{MASK, MESSAGES, start_or_handle};
use core::{
    arch::{asm, naked_asm},
    ffi::c_int,
    mem::offset_of,
};
use linux_raw_sys::general::SA_RESTORER;

pub use portable::{
    IGNORE_OFFSET, is_version_flag_by_word as is_version_flag,
    line_position_by_constant as line_position, next_argument, pause as sleep,
    syscall_crate as kernel,
};

/// A bit that no signal has set: SA_RESTORER in the flags, which lie where a handler finds its signal.
pub const NO_SIGNAL: c_int = SA_RESTORER as c_int;

/// How many bits one signal takes in the word of signals: x86 extracts a byte in one instruction.
pub const SIGNAL_BITS: u32 = 8;

/// The kernel enters the program here, and delivers signals at the label.
///
/// Calls nothing and never returns: it falls into [`entry`], which linker.ld puts behind it.
///
/// # Safety
///
/// Only the kernel may enter it. `esp` points at argc; the pointers to the arguments follow.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "lea eax, [esp + 8]",     // arguments: behind argc and the program's name
        "push {mask}",            // shut down's mask; ignore's flags
        "push 1",                 // shut down's restorer, which is none; ignore's handler: SIG_IGN
        "push {no_signal}",       // shut down's flags: SA_RESTORER, whose bit is NO_SIGNAL
        "call 2f",                // shut down's handler: pushes the address of the next instruction
        "2: mov ecx, [esp + 4]",  // the signal, or, where the program starts, NO_SIGNAL
        "mov edx, eax",           // arguments, where the program starts; falls into run
        mask = const MASK,
        no_signal = const NO_SIGNAL,
    )
}

/// `_start` goes on here, with the parameters in `ecx` and `edx`.
///
/// # Safety
///
/// Only `_start` may enter it, with what [`start_or_handle`] takes: it never returns.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.entry")]
unsafe extern "fastcall" fn entry(signal: c_int, arguments: *const *const u8) -> ! {
    // `_start` pushed four words of actions below argc and the program's name.
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
