//! What aarch64 needs: `arch/arm64/include/asm/processor.h` and `kernel/signal.c` in the kernel,
//! and the Procedure Call Standard for the Arm 64-bit Architecture.

use super::portable;
use crate::{MASK, opaque};
use core::{arch::naked_asm, ffi::c_int};
use linux_raw_sys::general::SIGTERM;

pub use portable::{
    IGNORE_OFFSET, SIGNAL_BITS, line_position, next_argument, ppoll as sleep,
    syscall_crate as kernel,
};

/// A bit that no signal has set, and the mask has: one register serves as both. `_start` passes it in
/// place of a signal.
pub const NO_SIGNAL: c_int = 1 << (SIGTERM - 1);
const _: () = assert!(NO_SIGNAL as u32 & MASK != 0 && NO_SIGNAL > 64);

/// The kernel enters the program here. It delivers signals at `entry`.
///
/// Calls nothing and never returns: it falls into `entry`, which linker.ld puts behind it.
///
/// # Safety
///
/// Only the kernel may enter it. `sp` points at argc; the pointers to the arguments follow.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "add x1, sp, #16",            // arguments: behind argc and the program's name
        "mov x0, {mask}",             // signal: none, the program starts
        "mov x4, #1",
        "stp x4, x0, [sp, #-16]!",    // shut down's restorer, which is none, and mask;
                                      // ignore's handler, SIG_IGN, and flags
        "adr x4, entry",
        "stp x4, xzr, [sp, #-16]!",   // shut down's handler and no flags; sp stays aligned, as
                                      // the processor checks
        "mov x4, sp",                 // actions; falls into run
        mask = const MASK,
    )
}

/// Whether the argument is "-v" or "-V".
///
/// # Safety
///
/// The kernel gave the program this argument. It lies above `sp`, so that the byte before it exists, which
/// this reads as well: a comparison can shift a word right for free, but cannot cut off its top byte.
#[inline(always)]
pub unsafe fn is_version_flag(argument: *const u8) -> bool {
    // SAFETY: as above; the read needs no alignment.
    let word = unsafe { argument.sub(1).cast::<u32>().read_unaligned() };
    opaque((word & !(portable::LOWERCASE << 8)) as usize) >> 8 == portable::VERSION_FLAG as usize
}
