//! What aarch64 needs: `arch/arm64/include/asm/processor.h` and `kernel/signal.c` in the kernel,
//! and the Procedure Call Standard for the Arm 64-bit Architecture.

use crate::{Actions, MASK, MESSAGES, kernel, opaque, run};
use core::{arch::naked_asm, ffi::c_int};
use linux_raw_sys::{
    errno::EINTR,
    general::{__NR_ppoll, SIGINT, SIGTERM},
};

/// A bit that no signal has, which `_start` sets where the program looks for one: one of the mask's,
/// so that one register is both.
pub const START: c_int = 1 << (SIGTERM - 1);
const _: () = assert!(START as u32 & MASK != 0 && START > 64);

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
        "mov x0, {mask}",             // signal: none, the program starts
        "mov x4, #1",
        "stp x4, x0, [sp, #-16]!",    // shut_down's restorer, which is none, and mask;
                                      // ignore's handler, SIG_IGN, and flags
        "adr x4, {run}",
        "stp x4, xzr, [sp, #-16]!",   // shut_down's handler and no flags; sp stays aligned, as
                                      // the processor checks
        "mov x4, sp",                 // actions; falls into run
        mask = const MASK,
        run = sym run,
    )
}

const _: () = assert!(size_of::<Actions>() == 4 * 8, "_start stores four words");

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
    opaque(word as usize & !(but << 8)) >> 8 == opaque(bytes)
}

/// Which line says that SIGINT or SIGTERM came: how many bytes before the one for SIGINT it begins,
/// and how many it has.
#[inline(always)]
pub fn line_for(signal: c_int) -> (usize, usize) {
    // An eighth of 2 or 15: 0 or 1.
    const { assert!(SIGINT >> 3 == 0 && SIGTERM >> 3 == 1) };
    let line = opaque((signal.cast_unsigned() >> 3) as usize);
    const { assert!(MESSAGES.terminated.len() == MESSAGES.interrupted.len() + 1) };
    let length = opaque(MESSAGES.interrupted.len() + line);
    // 0, or once the length, which is in a register already.
    (line * length, length)
}

/// Sleeps until a signal's handler has run, which ours never does to its end. True if it is to
/// sleep again: that was only an interruption (EINTR), as emulators make them. False if it may not.
///
/// # Safety
///
/// Both are 0, and by now in `x1` and `x3`: `ppoll(NULL, 0, NULL, NULL)` touches no memory.
#[inline(always)]
pub unsafe fn sleep(zero1: usize, zero3: usize) -> bool {
    // SAFETY: no files, no time and no mask are nothing to read or write.
    let error = unsafe { kernel::syscall4(__NR_ppoll as usize, 0, zero1, 0, zero3) };
    error as i32 == -(EINTR as i32)
}
