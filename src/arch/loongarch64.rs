//! What loongarch64 needs: `arch/loongarch/include/asm/elf.h` and `kernel/signal.c` in the kernel, and the
//! LoongArch ELF psABI. Here a `struct sigaction` has no restorer.

use super::portable;
use crate::MASK;
use core::arch::{asm, naked_asm};

pub use portable::{
    NO_SIGNAL, SIGNAL_BITS, line_position, next_argument, ppoll as sleep, syscall_crate as kernel,
};

/// A whole register: no instruction compares 32 bits, and the kernel extends the sign of what it answers.
pub type Int = isize;

/// How many bytes after the action for SIGINT and SIGTERM that for SIGCHLD begins: one word.
pub const IGNORE_OFFSET: usize = 8;

/// The program's first instructions. The [module](super) shows the words that they write.
///
/// # Safety
///
/// Only the kernel may enter it, with `$sp` at argc.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "addi.d $a1, $sp, 16",    // arguments: after argc and the program's name
        "addi.d $sp, $sp, -32",   // room for the actions; $sp stays aligned to 16 bytes
        "pcaddi $a4, %pcrel_20(entry)",
        "st.d $a4, $sp, 0",       // word 0: handler
        "li.w $a4, 1",
        "st.d $a4, $sp, 8",       // word 1: flags, SIG_IGN
        "li.w $a4, {mask}",
        "st.d $a4, $sp, 16",      // word 2: mask, flags
        "lu12i.w $a0, -0x80000",  // signal: NO_SIGNAL, the sign
        "move $a4, $sp",          // actions; falls into entry
        mask = const MASK,
    )
}

/// Whether the argument is "-v" or "-V".
///
/// # Safety
///
/// The kernel gave the program this argument. This reads the byte before it, too, which exists, as arguments
/// lie above `$sp`: a shift to the right then cuts off one byte, not four of the register's eight.
#[inline(always)]
pub unsafe fn is_version_flag(argument: *const u8) -> bool {
    const { assert!(portable::LOWERCASE << 8 == 1 << 21) };
    // SAFETY: as above; the read needs no alignment, or the kernel does it.
    let mut word = unsafe { argument.sub(1).cast::<u32>().read_unaligned() } as usize;
    // SAFETY: clears one bit. The compiler takes three instructions more, for a constant.
    unsafe {
        asm!("bstrins.d {}, $zero, 21, 21", inout(reg) word, options(pure, nomem, nostack));
    }
    word >> 8 == portable::VERSION_FLAG as usize
}
