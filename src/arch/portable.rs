//! What most architectures share.

#![allow(dead_code, reason = "each architecture uses what fits it")]

#[cfg(not(any(target_arch = "x86", target_arch = "powerpc64")))]
use crate::start_or_handle;
use crate::{
    MASK, MESSAGES,
    arch::{self, kernel},
    opaque,
};
use core::ffi::c_int;
use linux_raw_sys::{
    errno::EINTR,
    general::{__NR_ppoll, SIGINT, SIGTERM},
};

/// The crate that makes the system calls.
#[cfg(feature = "sc")]
pub use sc as syscall_crate;
#[cfg(all(
    not(feature = "sc"),
    any(
        target_arch = "aarch64",
        target_arch = "loongarch64",
        target_arch = "riscv64",
        target_arch = "x86",
        target_arch = "x86_64"
    )
))]
pub use syscalls::raw as syscall_crate;

/// The type in which pause compares what the kernel answers: an int.
pub type Int = c_int;

/// A bit that no signal's number has: the sign. `_start` passes it in place of a signal.
pub const NO_SIGNAL: c_int = c_int::MIN;

/// [`NO_SIGNAL`] if one register serves as signal and mask: a bit that the mask has.
pub const NO_SIGNAL_IN_MASK: c_int = 1 << (SIGTERM - 1);
const _: () = assert!(NO_SIGNAL_IN_MASK as u32 & MASK != 0 && NO_SIGNAL_IN_MASK > 64);

/// How many bits one signal takes in the word of signals: with five, the word fits into 15 bits.
pub const SIGNAL_BITS: u32 = 5;

/// How many bytes after the action for SIGINT and SIGTERM that for SIGCHLD begins: two words.
pub const IGNORE_OFFSET: usize = 2 * size_of::<usize>();

/// `_start` falls in here, and the kernel delivers SIGINT and SIGTERM here. The third and the fourth
/// parameter only keep the fifth out of the registers that system calls use.
///
/// # Safety
///
/// Only the kernel and `_start` may enter it, with what [`start_or_handle`] takes: it never returns.
#[cfg(not(any(target_arch = "x86", target_arch = "powerpc64")))]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.entry")]
unsafe extern "C" fn entry(
    signal: c_int,
    arguments: *const *const u8,
    _: usize,
    _: usize,
    actions: usize,
) -> ! {
    let sigint_line = opaque(&raw const MESSAGES.sigint as usize);
    // SAFETY: the caller vouches for all of it.
    unsafe { start_or_handle(signal, arguments, actions, sigint_line) }
}

/// Returns the argument that `arguments` points at, null after the last, and moves on to the next.
///
/// # Safety
///
/// `arguments` points into an array of pointers that ends with null, at that null at most.
#[inline(always)]
pub unsafe fn next_argument(arguments: &mut *const *const u8) -> *const u8 {
    // SAFETY: the caller vouches for this pointer. The next address is one past the array's end at most.
    unsafe {
        let argument = **arguments;
        *arguments = arguments.add(1);
        argument
    }
}

/// Whether the argument is "-v" or "-V", byte by byte.
///
/// # Safety
///
/// `argument` points at a string that ends with a zero byte.
#[inline(always)]
pub unsafe fn is_version_flag(argument: *const u8) -> bool {
    // SAFETY: a byte is read only if none before it ended the string.
    unsafe { *argument == b'-' && *argument.add(1) | 0x20 == b'v' && *argument.add(2) == 0 }
}

/// Whether the argument is "-v" or "-V", read as one little-endian word of four bytes. This takes fewer
/// bytes than [`is_version_flag`] if an unaligned read is one instruction.
///
/// # Safety
///
/// The kernel gave the program this argument. The fourth byte exists: after the arguments come the
/// environment, the file's name and eight zero bytes (`fs/binfmt_elf.c`, `fs/exec.c`).
#[inline(always)]
pub unsafe fn is_version_flag_by_word(argument: *const u8) -> bool {
    // SAFETY: as above; the read needs no alignment.
    let word = unsafe { argument.cast::<u32>().read_unaligned() };
    opaque(word as usize) as u32 & 0xff_ffff & !LOWERCASE == VERSION_FLAG
}

/// "-V" and its zero byte as a little-endian word, and the bit that makes it "-v".
pub const VERSION_FLAG: u32 = u32::from_le_bytes(*b"-V\0\0");
pub const LOWERCASE: u32 = u32::from_le_bytes([0, b'v' ^ b'V', 0, 0]);

/// Where the line for a signal, SIGINT or SIGTERM, lies: how many bytes before the line for SIGINT it
/// begins, and its length in bytes.
#[inline(always)]
pub fn line_position(signal: c_int) -> (usize, usize) {
    let sigterm = is_sigterm(signal);
    let len = opaque(MESSAGES.sigint.len() + sigterm);
    const { assert!(MESSAGES.sigterm.len() == MESSAGES.sigint.len() + 1) };
    // 0, or the length, which is in a register already.
    (sigterm * len, len)
}

/// [`line_position`] on x86, whose multiplication takes a constant.
#[inline(always)]
pub fn line_position_by_constant(signal: c_int) -> (usize, usize) {
    let sigterm = is_sigterm(signal);
    let len = opaque((MESSAGES.sigint.len() as u32 + sigterm as u32) as usize);
    (sigterm * MESSAGES.sigterm.len(), len)
}

/// 0 for SIGINT and 1 for SIGTERM: an eighth of 2 and 15.
#[inline(always)]
pub fn is_sigterm(signal: c_int) -> usize {
    const { assert!(SIGINT >> 3 == 0 && SIGTERM >> 3 == 1) };
    (signal.cast_unsigned() >> 3) as usize
}

/// Sleeps until a signal handler returns; that of pause never does. True if the sleep was interrupted
/// (EINTR) all the same, as emulators do; false if the kernel refused it.
///
/// # Safety
///
/// No requirements: pause(2) takes no arguments. The signature is that of [`ppoll`].
#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "loongarch64",
    target_arch = "riscv64"
)))]
#[inline(always)]
pub unsafe fn pause(_: usize, _: usize) -> bool {
    // SAFETY: pause(2) touches no memory.
    is_eintr(unsafe { kernel::syscall0(linux_raw_sys::general::__NR_pause as usize) })
}

/// Sleeps like pause(2), on architectures that lack it. The result is that of `pause`.
///
/// # Safety
///
/// Both are 0. They are arguments 1 and 3, counted from 0: after wait4, these registers hold 0 already.
#[inline(always)]
pub unsafe fn ppoll(zero1: usize, zero3: usize) -> bool {
    // SAFETY: `ppoll(NULL, 0, NULL, NULL)` has no files, timeout or mask to read or write.
    is_eintr(unsafe { kernel::syscall4(__NR_ppoll as usize, 0, zero1, 0, zero3) })
}

fn is_eintr(error: usize) -> bool {
    error as arch::Int == -(EINTR as arch::Int)
}
