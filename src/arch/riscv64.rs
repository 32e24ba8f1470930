//! What riscv64 needs: `arch/riscv/include/asm/elf.h` and `kernel/signal.c` in the kernel, and the
//! RISC-V calling conventions. Here a `struct sigaction` has no restorer.

use super::portable;
use crate::{MASK, MESSAGES, opaque};
use core::{arch::naked_asm, ffi::c_int};

pub use portable::{
    Int, NO_SIGNAL, SIGNAL_BITS, is_version_flag, next_argument, ppoll as sleep,
    syscall_crate as kernel,
};

/// How many bytes after the action for SIGINT and SIGTERM that for SIGCHLD begins: three words.
pub const IGNORE_OFFSET: usize = 24;

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
        "addi a1, sp, 16",     // arguments: after argc and the program's name
        "addi sp, sp, -48",    // room for the actions; sp stays aligned to 16 bytes
        "lla a4, entry",
        "sd a4, 0(sp)",        // word 0: handler
        "sd zero, 8(sp)",      // word 1: no flags
        "li a4, {mask}",
        "sd a4, 16(sp)",       // word 2: mask
        "li a4, 1",
        "sd a4, 24(sp)",       // word 3: SIG_IGN
        "sd zero, 32(sp)",     // word 4: no flags
        "lui a0, 0x80000",     // signal: NO_SIGNAL, the sign
        "mv a4, sp",           // actions; falls into entry
        mask = const MASK,
    )
}

/// [`portable::line_position`]: here a branch takes fewer bytes than a multiplication.
#[inline(always)]
pub fn line_position(signal: c_int) -> (usize, usize) {
    let sigterm = portable::is_sigterm(signal);
    let len = opaque(MESSAGES.sigint.len() + sigterm);
    (if sigterm != 0 { len } else { 0 }, len)
}
