//! What s390x needs: `arch/s390/kernel/signal.c` and `process.c` in the kernel, and the ELF
//! Application Binary Interface's s390x supplement. s390x is big-endian.

use super::portable;
use crate::MASK;
use core::arch::naked_asm;

pub use portable::{
    IGNORE_OFFSET, Int, NO_SIGNAL, SIGNAL_BITS, line_position, next_argument, pause as sleep,
};

/// System calls: the crates need a nightly compiler here. The number is in `r1`, arguments and
/// result from `r2` on, and nothing else changes (`arch/s390/kernel/syscall.c`).
pub mod kernel {
    use core::arch::asm;

    macro_rules! system_call {
        ($name:ident, $($register:tt $argument:ident)*) => {
            /// # Safety
            ///
            /// As for the system call of this number.
            #[inline(always)]
            pub unsafe fn $name(number: usize, first: usize $(, $argument: usize)*) -> usize {
                let result;
                // SAFETY: the caller vouches for the call; `svc 0` takes the number from r1.
                unsafe {
                    asm!("svc 0", in("r1") number, inlateout("r2") first => result,
                        $(in($register) $argument,)* options(nostack))
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
        // SAFETY: the caller vouches for the call; `svc 0` takes the number from r1.
        unsafe { asm!("svc 0", in("r1") number, lateout("r2") result, options(nostack)) };
        result
    }
    system_call!(syscall1,);
    system_call!(syscall3, "r3" second "r4" third);
    system_call!(syscall4, "r3" second "r4" third "r5" fourth);
}

/// The program's first instructions. The [module](super) shows the words that they write.
///
/// # Safety
///
/// Only the kernel may enter it, with `r15` at argc.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "la %r3, 16(%r15)",           // arguments: after argc and the program's name
        "aghi %r15, -192",            // room for the actions, and 160 bytes that a callee may use
        "larl %r0, entry",
        "lghi %r1, 0",
        "stmg %r0, %r1, 160(%r15)",   // word 0: handler; word 1: no flags
        "lghi %r0, 1",
        "lghi %r1, {mask}",
        "stmg %r0, %r1, 176(%r15)",   // word 2: restorer, SIG_IGN; word 3: mask, flags
        "llilh %r2, 0x8000",          // signal: NO_SIGNAL, the sign
        "la %r6, 160(%r15)",          // actions; falls into entry
        mask = const MASK,
    )
}

/// Whether the argument is "-v" or "-V".
///
/// # Safety
///
/// The kernel gave the program this argument. The fourth byte exists: see
/// [`portable::is_version_flag_by_word`].
#[inline(always)]
pub unsafe fn is_version_flag(argument: *const u8) -> bool {
    // SAFETY: as above; the read needs no alignment.
    let word = unsafe { argument.cast::<u32>().read_unaligned() };
    let (flag, lowercase) = (
        portable::VERSION_FLAG.swap_bytes(),
        portable::LOWERCASE.swap_bytes(),
    );
    (word & !lowercase) >> 8 == flag >> 8
}
