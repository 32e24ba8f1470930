//! What arm needs: `arch/arm/include/asm/processor.h` and `kernel/signal.c` in the kernel, and the
//! Procedure Call Standard for the Arm Architecture. make builds Thumb code, which every arm since v6
//! runs; the lowest bit of its addresses is set. cargo alone builds for the triple of the machine, which
//! may be one without Thumb (build.rs).

use super::portable;
use crate::MASK;
use core::arch::naked_asm;

pub use portable::{
    IGNORE_OFFSET, Int, NO_SIGNAL_IN_MASK as NO_SIGNAL, SIGNAL_BITS, is_version_flag,
    line_position, next_argument, pause as sleep,
};

/// System calls. The number is in `r7`, which asm! does not accept in Thumb: the crate saves and restores
/// it at each call. One function that does so takes fewer bytes.
pub mod kernel {
    use core::arch::{asm, naked_asm};

    /// Makes the system call whose number is in `r4`, with its arguments from `r0` on. It changes only
    /// `r0`, the result, and `lr`.
    ///
    /// # Safety
    ///
    /// As for the system call.
    #[unsafe(naked)]
    unsafe extern "C" fn call_kernel() {
        naked_asm!(
            "push {{r7, lr}}",
            "mov r7, r4", // the number
            "svc 0",
            "pop {{r7, pc}}", // returns
        )
    }

    macro_rules! system_call {
        ($name:ident, $($register:tt $argument:ident)*) => {
            /// # Safety
            ///
            /// As for the system call of this number.
            #[inline(always)]
            pub unsafe fn $name(number: usize, first: usize $(, $argument: usize)*) -> usize {
                let result;
                // SAFETY: the caller vouches for the call; `call_kernel` keeps all but r0 and lr.
                unsafe {
                    asm!("bl {call_kernel}", call_kernel = sym call_kernel, in("r4") number,
                        inlateout("r0") first => result, $(in($register) $argument,)* out("lr") _)
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
        let result;
        // SAFETY: the caller vouches for the call; `call_kernel` keeps all but r0 and lr.
        unsafe {
            asm!("bl {call_kernel}", call_kernel = sym call_kernel, in("r4") number,
                lateout("r0") result, out("lr") _)
        };
        result
    }
    system_call!(syscall1,);
    system_call!(syscall3, "r1" second "r2" third);
    system_call!(syscall4, "r1" second "r2" third "r3" fourth);
}

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
        "add r1, sp, #8",          // arguments: after argc and the program's name
        "movs r0, #{mask} >> 8",   // signal: NO_SIGNAL is one of the mask's bits; in three steps
        "lsls r0, r0, #8",
        "adds r0, #{mask} & 255",
        "mov r3, r0",
        "movs r2, #1",
        "push {{r2, r3}}",         // word 2: restorer, SIG_IGN; word 3: mask, flags
        "movs r3, #0",
        "adr r2, 2f",
        "adds r2, #{thumb}",       // the bit that marks Thumb code
        "push {{r2, r3}}",         // word 0: handler; word 1: no flags
        "mov r2, sp",
        "push {{r2, r3}}",         // actions, the fifth parameter; sp stays aligned to 8 bytes
        ".balign 4",               // adr counts in words
        "2:",                      // this is entry; falls into it
        mask = const MASK,
        thumb = const cfg!(thumb) as u8,
    )
}
