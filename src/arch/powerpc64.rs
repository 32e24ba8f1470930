//! What powerpc64le needs: `arch/powerpc/kernel/process.c` and `signal_64.c` in the kernel, and the
//! 64-bit ELF V2 ABI. The program has no table of contents (TOC): `r12` holds the address at which the
//! kernel enters, that of `_start` or of the handler.

use super::portable;
use crate::{MASK, MESSAGES, start_or_handle};
use core::{arch::naked_asm, ffi::c_int};

pub use portable::{
    IGNORE_OFFSET, Int, NO_SIGNAL, SIGNAL_BITS, is_version_flag, line_position, next_argument,
    pause as sleep,
};

/// System calls: the crates need a nightly compiler here. The number is in `r0`, arguments and
/// result from `r3` on; `r0`, `r3` to `r12`, `ctr`, `xer` and the condition registers are lost
/// (`Documentation/arch/powerpc/syscall64-abi.rst`). An error is positive, and the bit SO marks it.
pub mod kernel {
    use core::arch::asm;

    macro_rules! system_call {
        ($name:ident, $($code:literal)*, [$($register:tt $argument:ident)*], [$($lost:tt)*]) => {
            /// # Safety
            ///
            /// As for the system call of this number.
            #[inline(always)]
            pub unsafe fn $name(number: usize, first: usize $(, $argument: usize)*) -> usize {
                let result;
                // SAFETY: the caller vouches for the call. The operands are all that the kernel may change.
                unsafe {
                    asm!($($code,)* inlateout("r0") number => _, inlateout("r3") first => result,
                        $(inlateout($register) $argument => _,)* $(out($lost) _,)*
                        out("r7") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                        out("r12") _, out("ctr") _, out("xer") _, out("cr0") _, out("cr1") _,
                        out("cr5") _, out("cr6") _, out("cr7") _, options(nostack))
                };
                result
            }
        };
    }

    /// # Safety
    ///
    /// As for the system call of this number.
    #[inline(always)]
    pub unsafe fn syscall0(number: usize) -> usize {
        // SAFETY: the caller vouches for the call; the kernel ignores the extra argument.
        unsafe { or_error1(number, 0) }
    }
    // Nothing reads the results of exit_group and write: this saves two instructions.
    system_call!(syscall1, "sc", [], ["r4" "r5" "r6"]);
    system_call!(syscall3, "sc", ["r4" second "r5" third], ["r6"]);
    system_call!(or_error1, "sc" "bns 2f" "neg 3, 3" "2:", [], ["r4" "r5" "r6"]);
    system_call!(syscall4, "sc" "bns 2f" "neg 3, 3" "2:", ["r4" second "r5" third "r6" fourth], []);
}

/// The program's first instructions. The [module](super) shows the words that they write.
///
/// # Safety
///
/// Only the kernel may enter it, with `r1` at argc and the address of `_start` in `r12`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "addi 4, 1, 16",         // arguments: after argc and the program's name
        "lis 3, -0x8000",        // signal: NO_SIGNAL, the sign
        "li 0, {mask}",
        "li 5, 1",
        "std 0, -8(1)",          // word 3: mask, flags
        "std 5, -16(1)",         // word 2: restorer, SIG_IGN
        "li 5, 0",
        "std 5, -24(1)",         // word 1: no flags
        "addi 12, 12, 2f - {me}",
        "stdu 12, -32(1)",       // word 0: handler, the label; r1 stays aligned to 16 bytes
        "mr 7, 1",               // actions
        "2: addi 8, 12, ({messages} + {sigint} - 2b)@l", // sigint_line: r12 has the label's address,
                                 // from above or from the kernel; falls into entry
        mask = const MASK,
        me = sym _start,
        messages = sym MESSAGES,
        sigint = const core::mem::offset_of!(crate::Messages, sigint),
    )
}

/// `_start` falls in here. The third and the fourth parameter only keep the others out of the registers
/// that system calls use.
///
/// # Safety
///
/// Only `_start` may enter it, with what [`start_or_handle`] takes: it never returns.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.entry")]
unsafe extern "C" fn entry(
    signal: c_int,
    arguments: *const *const u8,
    _: usize,
    _: usize,
    actions: usize,
    sigint_line: usize,
) -> ! {
    // SAFETY: the caller vouches for all of it.
    unsafe { start_or_handle(signal, arguments, actions, sigint_line) }
}
