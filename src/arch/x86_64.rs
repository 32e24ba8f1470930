//! What x86_64 needs: `arch/x86/kernel/process_64.c` and `signal_64.c` in the kernel,
//! and the System V ABI's x86-64 supplement.

use crate::{Actions, MASK, MESSAGES, kernel, opaque, run};
use core::{
    arch::{asm, naked_asm},
    ffi::c_int,
};
use linux_raw_sys::{
    errno::EINTR,
    general::{__NR_pause, SA_RESTORER, SIGINT, SIGTERM},
};

/// A bit that no signal has, which `_start` sets where the program looks for one: the sign's.
pub const START: c_int = c_int::MIN;

/// Bits that one signal takes in the word of signals: x86_64 takes out a byte in one instruction.
pub const SIGNAL_BITS: u32 = 8;

/// Where the kernel enters the program, and, at the label, where it delivers a signal.
///
/// Calls nothing and never returns: it falls into [`run`], which linker.ld puts behind it, with
/// the stack aligned as if `run` had been called.
///
/// # Safety
///
/// Only the kernel may enter it: `rsp` points at argc, the pointers to the arguments follow.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "pop rax",       // drop argc: a null pointer ends the arguments as well
        "mov rsi, rsp",  // arguments: at the program's name,
        "lodsq",         // which is none; the ABI has the direction flag clear here
        "push -1",       // signal: none, the program starts
        "pop rdi",       // (below 128, push and pop are the shortest move)
        "push {mask}",   // shut_down's mask, ignore's flags
        "push 1",        // shut_down's restorer, which is none; ignore's handler: SIG_IGN
        "push {flags}",  // shut_down's flags
        "call 2f",       // shut_down's handler: pushes the address of the next instruction
        "2:",
        "mov r8, rsp",   // actions, where the program starts
        "/* {run} */",   // falls into it
        mask = const MASK,
        flags = const SA_RESTORER, // without it the kernel answers a signal with SIGSEGV
        run = sym run,
    )
}

const _: () = assert!(size_of::<Actions>() == 4 * 8, "_start pushes four words");

/// The argument that `arguments` points at, or null behind the last; moves on to the next.
///
/// # Safety
///
/// `arguments` points into an array of pointers that null ends, and not behind its end.
#[inline(always)]
pub unsafe fn next_argument(arguments: &mut *const *const u8) -> *const u8 {
    let argument;
    // SAFETY: reads the one pointer that the caller vouches for. It is one instruction of two
    // bytes, where the compiler takes a load and an addition of seven. asm! has DF clear.
    unsafe {
        asm!("lodsq", inout("rsi") *arguments, out("rax") argument, options(readonly, nostack, preserves_flags));
    }
    argument
}

/// Whether the three bytes at `argument`, less the bits in `but`, are `bytes` (little-endian).
///
/// # Safety
///
/// `argument` is one that the kernel gave the program. The fourth byte that this reads is there:
/// behind the arguments come the environment, the file's name and eight zero bytes
/// (`fs/binfmt_elf.c`, `fs/exec.c`).
#[inline(always)]
pub unsafe fn begins_with(argument: *const u8, bytes: usize, but: usize) -> bool {
    // SAFETY: as above; the read does not ask for alignment.
    let word = unsafe { argument.cast::<u32>().read_unaligned() };
    opaque(word as usize) & 0xff_ffff & !but == bytes
}

/// Which line says that SIGINT or SIGTERM came: how many bytes before the one for SIGINT it begins,
/// and how many it has.
#[inline(always)]
pub fn line_for(signal: c_int) -> (usize, usize) {
    // An eighth of 2 or 15: 0 or 1.
    const { assert!(SIGINT >> 3 == 0 && SIGTERM >> 3 == 1) };
    let line = opaque((signal.cast_unsigned() >> 3) as usize);
    const { assert!(MESSAGES.terminated.len() == MESSAGES.interrupted.len() + 1) };
    let length = opaque((MESSAGES.interrupted.len() as u32 + line as u32) as usize);
    (line * MESSAGES.terminated.len(), length)
}

/// Sleeps until a signal's handler has run, which ours never does to its end. True if it is to
/// sleep again: that was only an interruption (EINTR), as emulators make them. False if it may not.
///
/// # Safety
///
/// It asks for nothing: pause(2) takes no arguments. The signature is that of aarch64.
#[inline(always)]
pub unsafe fn sleep(_: usize, _: usize) -> bool {
    // SAFETY: pause(2) touches no memory.
    let error = unsafe { kernel::syscall0(__NR_pause as usize) };
    // All errors differ in their lowest byte.
    error as i8 == -(EINTR as i8)
}
