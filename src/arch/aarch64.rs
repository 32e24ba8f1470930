//! What aarch64 needs: `arch/arm64/include/asm/processor.h` and `kernel/signal.c` in the kernel,
//! and the Procedure Call Standard for the Arm 64-bit Architecture.

use super::portable;
use crate::{MASK, opaque};
use core::{arch::naked_asm, ffi::c_int};
use linux_raw_sys::general::SIGTERM;

pub use portable::{
    IGNORE, SIGNAL_BITS, crates as kernel, line_for, next_argument, ppoll as sleep,
};

/// A bit that no signal has, which `_start` sets where the program looks for one: one of the mask's,
/// so that one register is both.
pub const START: c_int = 1 << (SIGTERM - 1);
const _: () = assert!(START as u32 & MASK != 0 && START > 64);

/// Where the kernel enters the program. It delivers signals at `run` itself.
///
/// Calls nothing and never returns: it falls into `run`, which linker.ld puts behind it.
///
/// # Safety
///
/// Only the kernel may enter it: `sp` points at argc, the pointers to the arguments follow.
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
        "adr x4, run",
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
/// `argument` is one that the kernel gave the program, on the stack above `sp`, so that the byte
/// before it, which this reads too, is there. A comparison shifts a word right for nothing, but
/// does not cut a byte from its top.
#[inline(always)]
pub unsafe fn is_version_flag(argument: *const u8) -> bool {
    // SAFETY: as above; the read does not ask for alignment.
    let word = unsafe { argument.sub(1).cast::<u32>().read_unaligned() };
    opaque((word & !(portable::SMALL << 8)) as usize) >> 8 == portable::FLAG as usize
}
