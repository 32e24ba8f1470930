//! What riscv64 needs: `arch/riscv/include/asm/elf.h` and `kernel/signal.c` in the kernel, and the
//! RISC-V calling conventions. Here a `struct sigaction` has no restorer.

use super::portable;
use crate::{MASK, MESSAGES, opaque};
use core::{arch::naked_asm, ffi::c_int};

pub use portable::{
    NO_SIGNAL, SIGNAL_BITS, is_version_flag, next_argument, ppoll as sleep, syscall_crate as kernel,
};

/// How many bytes lie between the two actions: the first one's handler, flags and mask.
pub const IGNORE_OFFSET: usize = 24;

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
        "addi a1, sp, 16",     // arguments: behind argc and the program's name
        "addi sp, sp, -48",    // stays aligned to 16 bytes
        "lla a4, entry",
        "sd a4, 0(sp)",        // shut down's handler,
        "sd zero, 8(sp)",      // no flags,
        "li a4, {mask}",
        "sd a4, 16(sp)",       // and mask
        "li a4, 1",
        "sd a4, 24(sp)",       // ignore's handler, SIG_IGN,
        "sd zero, 32(sp)",     // and no flags; its mask is what lies there
        "lui a0, 0x80000",     // signal: none, the program starts; the sign's bit
        "mv a4, sp",           // actions; falls into run
        mask = const MASK,
    )
}

/// The line for SIGINT or SIGTERM: how many bytes before the line for SIGINT it begins, and its length
/// in bytes. A branch takes fewer bytes than a multiplication here.
#[inline(always)]
pub fn line_position(signal: c_int) -> (usize, usize) {
    let sigterm = portable::is_sigterm(signal);
    let len = opaque(MESSAGES.sigint.len() + sigterm);
    (if sigterm != 0 { len } else { 0 }, len)
}
