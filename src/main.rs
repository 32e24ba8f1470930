//! pause, the first process of a pod. It holds the pod's namespaces, makes the kernel reap orphans, and
//! sleeps until a signal ends it.
//!
//! Read this file first; `arch/` holds the entry points, `linker.ld` the file's layout.
//!
//! `_start` (`arch/`) falls into `entry` (`arch/portable.rs`), which calls [`start_or_handle`]. A signal
//! enters at `entry`. All functions that it calls are inlined there.

#![no_std]
#![no_main]
#![deny(unsafe_op_in_unsafe_fn)]

mod arch;

use arch::{Int, kernel};
use core::{arch::asm, ffi::c_int, mem::offset_of};
use linux_raw_sys::general::*;

const VERSION: &str = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");

/// All that pause ever writes, in one piece, so that one address leads to each message. The line for
/// SIGTERM ends where that for SIGINT begins: [`arch::line_position`] counts back from there.
#[repr(C)]
struct Messages {
    sigterm: [u8; 38],
    sigint: [u8; 37],
    version: [u8; VERSION.len()],
    warning: [u8; 43],
}

/// In its own section: some architectures align constants to 16 bytes.
#[unsafe(link_section = ".text.messages")]
static MESSAGES: Messages = Messages {
    sigterm: *b"Shutting down, got signal: Terminated\n",
    sigint: *b"Shutting down, got signal: Interrupt\n",
    version: *VERSION.as_bytes().first_chunk().unwrap(),
    warning: *b"Warning: pause should be the first process\n",
};

/// Blocks SIGINT and SIGTERM while pause shuts down, so that it writes one line only.
const MASK: u32 = 1 << (SIGINT - 1) | 1 << (SIGTERM - 1);

/// A message in memory, and the file descriptor to write it to.
struct Line {
    fd: u32,
    address: usize,
    len: usize,
}

/// The whole program. It runs at the start, when `signal` has the bit [`arch::NO_SIGNAL`], and again as
/// the handler of SIGINT and SIGTERM. [`arch`] says who calls it.
///
/// # Safety
///
/// `sigint_line` is the address of [`Messages::sigint`], which leads to all other messages.
///
/// For a real signal there are no other requirements. At the start, `arguments` points at the pointers to
/// the program's arguments as the kernel laid them out, with null after the last, and `actions` at what
/// `_start` put on the stack for [`set_actions`]. (Linux before 5.18 starts a program even without a name.
/// Its environment then counts as arguments, and ends with null as well.)
#[inline(always)]
unsafe fn start_or_handle(
    signal: c_int,
    arguments: *const *const u8,
    actions: usize,
    sigint_line: usize,
) -> ! {
    // The exit code: 0, or the step that the kernel refused.
    let mut exit_code = opaque(0);

    let last_line = if signal & arch::NO_SIGNAL == 0 {
        Some(shutdown_line(signal, sigint_line))
    } else {
        // SAFETY: this is the start, so the caller vouches for the arguments.
        unsafe { version_if_asked(arguments, sigint_line) }
    };
    // Keeps the address in its register. Without this the compiler computes the warning's address in the
    // same register and then copies it: 3 or 4 bytes more on x86 (docs/size.md).
    hold(sigint_line);

    let mut may_sleep = match last_line {
        Some(line) => {
            // SAFETY: the line is one of the messages.
            unsafe { write(line) };
            false
        }
        None => {
            warn_unless_first(sigint_line);
            // SAFETY: this is the start, so the caller vouches for the actions.
            unsafe { set_actions(actions, &mut exit_code) }
        }
    };

    loop {
        if may_sleep {
            reap_and_sleep();
        }
        exit_group(exit_code);
        // Never reached. Looping back to code that exists saves the jump or trap with which the compiler
        // ends a function that does not return: 2 to 4 bytes.
        may_sleep = true;
    }
}

/// The line for SIGINT or SIGTERM.
#[inline(always)]
fn shutdown_line(signal: c_int, sigint_line: usize) -> Line {
    let (back, len) = arch::line_position(signal);
    Line {
        fd: STDERR_FILENO,
        address: sigint_line - back,
        len,
    }
}

/// The line with the version, if an argument asks for it.
///
/// # Safety
///
/// `arguments` is as for [`start_or_handle`].
#[inline(always)]
unsafe fn version_if_asked(mut arguments: *const *const u8, sigint_line: usize) -> Option<Line> {
    loop {
        // SAFETY: no null has ended the arguments yet.
        let argument = unsafe { arch::next_argument(&mut arguments) };
        if argument.is_null() {
            return None;
        }
        // SAFETY: the pointer is not null, so it is the kernel's, to an argument.
        if unsafe { arch::is_version_flag(argument) } {
            return Some(Line {
                fd: STDOUT_FILENO,
                address: message_address(sigint_line, offset_of!(Messages, version)),
                len: VERSION.len(),
            });
        }
    }
}

/// Warns unless pause is PID 1: only the first process of a namespace gets its orphans.
#[inline(always)]
fn warn_unless_first(sigint_line: usize) {
    // SAFETY: getpid(2) touches no memory.
    if unsafe { kernel::syscall0(__NR_getpid as usize) } as Int != 1 {
        // SAFETY: the line is one of the messages.
        unsafe {
            write(Line {
                fd: STDERR_FILENO,
                address: message_address(sigint_line, offset_of!(Messages, warning)),
                len: MESSAGES.warning.len(),
            });
        }
    }
}

/// Makes SIGINT and SIGTERM shut pause down, and ignores SIGCHLD: from then on the kernel reaps by
/// itself, and no orphan wakes pause. False if the kernel refuses one. `exit_code` counts the steps from 0:
/// it is 1, 2 and 3 for these signals, then 4, for the sleep.
///
/// # Safety
///
/// `actions` points at the two actions that [`arch`] draws.
#[inline(always)]
unsafe fn set_actions(actions: usize, exit_code: &mut usize) -> bool {
    // All three in one word, the first lowest: one loop takes fewer bytes than three calls.
    let signals = SIGINT | SIGTERM << arch::SIGNAL_BITS | SIGCHLD << (2 * arch::SIGNAL_BITS);
    let mut signals = signals as Int;
    loop {
        *exit_code = opaque(*exit_code + 1);
        if signals == 0 {
            return true;
        }
        let signal = signals & ((1 << arch::SIGNAL_BITS) - 1);
        // Of the three, only SIGCHLD (17) has the bit of value 16. It gives the offset without a branch.
        const { assert!(SIGCHLD & 16 == 16 && (SIGINT | SIGTERM) & 16 == 0) };
        let action = actions + (signals as usize & 16) * arch::IGNORE_OFFSET / 16;
        signals >>= arch::SIGNAL_BITS;
        // SAFETY: rt_sigaction(2) reads the action. The pointer for the old one is null.
        let refused = unsafe {
            kernel::syscall4(
                __NR_rt_sigaction as usize,
                signal as usize,
                action,
                0,
                size_of::<kernel_sigset_t>(),
            )
        };
        if refused as Int != 0 {
            return false;
        }
    }
}

/// Reaps the zombies from before SIGCHLD was ignored: no child becomes one after that. Then sleeps for
/// good. Returns only if the kernel refuses the sleep: trying again would keep a processor busy.
#[inline(always)]
fn reap_and_sleep() {
    // Two registers hold 0 for both system calls, as arguments 1 and 3, counted from 0: wait4's status and
    // usage, ppoll's count and mask.
    let (zero1, zero3) = (opaque(0), opaque(0));
    // SAFETY: both pointers are null, so wait4(2) writes nothing.
    while unsafe { wait4(-1, zero1, WNOHANG, zero3) } > 0 {}
    // SAFETY: both are 0.
    while unsafe { arch::sleep(zero1, zero3) } {}
}

/// # Safety
///
/// `status` and `usage` are null.
#[inline(always)]
unsafe fn wait4(pid: c_int, status: usize, options: u32, usage: usize) -> Int {
    // SAFETY: as above.
    unsafe {
        kernel::syscall4(
            __NR_wait4 as usize,
            pid as usize,
            status,
            options as usize,
            usage,
        ) as Int
    }
}

/// # Safety
///
/// The line's address points at that many bytes.
#[inline(always)]
unsafe fn write(line: Line) {
    // SAFETY: write(2) only reads. pause ignores a failed write.
    unsafe {
        kernel::syscall3(
            __NR_write as usize,
            line.fd as usize,
            line.address,
            line.len,
        )
    };
}

/// Never returns. The compiler does not know that: [`start_or_handle`] says why.
#[inline(always)]
fn exit_group(code: usize) {
    // SAFETY: exit_group(2) touches no memory of ours.
    unsafe { kernel::syscall1(__NR_exit_group as usize, code) };
}

/// The address of the message at an offset in [`Messages`].
#[inline(always)]
fn message_address(sigint_line: usize, offset: usize) -> usize {
    sigint_line + (offset - offset_of!(Messages, sigint))
}

/// Hides a value from the compiler, which then keeps it in a register instead of computing it anew for
/// each use.
#[inline(always)]
fn opaque(mut value: usize) -> usize {
    // SAFETY: a comment, not an instruction.
    unsafe { asm!("/* {} */", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Makes the compiler keep a value in a register up to here.
#[inline(always)]
fn hold(value: usize) {
    // SAFETY: a comment, not an instruction.
    unsafe { asm!("/* {} */", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Nothing here panics, but the language requires a handler.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
