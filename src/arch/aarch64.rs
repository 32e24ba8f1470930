//! What aarch64 needs: `arch/arm64/include/asm/processor.h` and `kernel/signal.c` in the kernel,
//! and the Procedure Call Standard for the Arm 64-bit Architecture.

use super::portable;
use crate::{MASK, opaque};
use core::arch::naked_asm;

pub use portable::{
    IGNORE_OFFSET, Int, NO_SIGNAL_IN_MASK as NO_SIGNAL, SIGNAL_BITS, line_position, next_argument,
    ppoll as sleep, syscall_crate as kernel,
};

/// The program's first instructions. The [module](super) shows the words that they write.
///
/// # Safety
///
/// Only the kernel may enter it, with `sp` at argc.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "add x1, sp, #16",            // arguments: after argc and the program's name
        "mov x0, {mask}",             // signal: NO_SIGNAL is one of the mask's bits
        "mov x4, #1",
        "stp x4, x0, [sp, #-16]!",    // word 2: restorer, SIG_IGN; word 3: mask, flags
        "adr x4, entry",
        "stp x4, xzr, [sp, #-16]!",   // word 0: handler; word 1: no flags. sp stays aligned to 16
                                      // bytes, as the processor checks
        "mov x4, sp",                 // actions; falls into entry
        mask = const MASK,
    )
}

/// Whether the argument is "-v" or "-V".
///
/// # Safety
///
/// The kernel gave the program this argument. This reads the byte before it, too, which exists, as arguments
/// lie above `sp`: a comparison can shift a word right for free, but cannot cut off its top byte.
#[inline(always)]
pub unsafe fn is_version_flag(argument: *const u8) -> bool {
    // SAFETY: as above; the read needs no alignment.
    let word = unsafe { argument.sub(1).cast::<u32>().read_unaligned() };
    opaque((word & !(portable::LOWERCASE << 8)) as usize) >> 8 == portable::VERSION_FLAG as usize
}
