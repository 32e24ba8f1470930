//! What aarch64 needs: `arch/arm64/include/asm/processor.h` and `kernel/signal.c` in the kernel,
//! and the Procedure Call Standard for the Arm 64-bit Architecture.

use crate::{Actions, kernel, run};
use core::arch::naked_asm;
use linux_raw_sys::general::__NR_ppoll;

/// Bits that one signal takes in the word of signals: with five, one instruction makes the word.
pub const SIGNAL_BITS: u32 = 5;

/// Where the kernel enters the program. It delivers signals at [`run`] itself.
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
        "mov x0, #-1",                // signal: none, the program starts
        "stp x0, x0, [sp, #-16]!",    // shut_down: no address to restore from; mask every
                                      // signal, so that one line is all it says
        "adr x4, {run}",              // shut_down: handler,
        "stp x4, xzr, [sp, #-16]!",   // no flags; sp stays aligned, as the processor checks
        "mov x4, #1",                 // ignore: SIG_IGN,
        "stp x4, xzr, [sp, #-16]!",   // no flags
        "mov x4, sp",                 // actions; falls into run
        run = sym run,
    )
}

const _: () = assert!(size_of::<Actions>() == 6 * 8, "_start stores six words");

/// The argument that `arguments` points at, or null behind the last; moves on to the next.
///
/// # Safety
///
/// `arguments` points into an array of pointers that null ends, and not behind its end.
#[inline(always)]
pub unsafe fn next_argument(arguments: &mut *const *const u8) -> *const u8 {
    // SAFETY: reads the one pointer that the caller vouches for; one past it is null's place at
    // the most.
    unsafe {
        let argument = **arguments;
        *arguments = arguments.add(1);
        argument
    }
}

/// Whether the three bytes at `argument`, less the bits in `but`, are `bytes` (little-endian).
///
/// # Safety
///
/// `argument` is one that the kernel gave the program, on the stack above `sp`, so that the byte
/// before it, which this reads too, is there. A comparison shifts a word right for nothing, but
/// does not cut a byte from its top.
#[inline(always)]
pub unsafe fn begins_with(argument: *const u8, bytes: usize, but: usize) -> bool {
    // SAFETY: as above; the read does not ask for alignment.
    let word = unsafe { argument.sub(1).cast::<u32>().read_unaligned() };
    crate::opaque(word as usize & !(but << 8)) >> 8 == crate::opaque(bytes)
}

/// Sleeps until a signal's handler has run. Ours never returns.
///
/// # Safety
///
/// Both are 0, and by now in `x1` and `x3`: `ppoll(NULL, 0, NULL, NULL)` touches no memory.
#[inline(always)]
pub unsafe fn sleep(zero1: usize, zero3: usize) {
    // SAFETY: no files, no time and no mask are nothing to read or write.
    unsafe { kernel::syscall4(__NR_ppoll as usize, 0, zero1, 0, zero3) };
}
