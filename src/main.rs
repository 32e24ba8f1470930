//! pause, the first process of a pod: it holds the pod's namespaces, has the kernel reap the
//! orphans, and sleeps until it is told to leave. This page is the whole program. What differs per
//! architecture is in `arch/`; where the bytes lie in the file is in `linker.ld`.

#![no_std]
#![no_main]
#![deny(unsafe_op_in_unsafe_fn)]

mod arch;

use arch::kernel;
use core::{arch::asm, ffi::c_int, mem::offset_of};
use linux_raw_sys::general::*;

/// Has cargo link again where only the layout changed.
const _: &[u8] = include_bytes!("../linker.ld");

const VERSION: &str = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");

/// All that pause ever says, in one piece, so that one address leads to each.
#[repr(C)]
struct Messages {
    terminated: [u8; 38],
    interrupted: [u8; 37],
    version: [u8; VERSION.len()],
    warning: [u8; 43],
}

/// In a section of its own, as some architectures align constants to 16 bytes.
#[unsafe(link_section = ".text.messages")]
static MESSAGES: Messages = Messages {
    terminated: *b"Shutting down, got signal: Terminated\n",
    interrupted: *b"Shutting down, got signal: Interrupt\n",
    version: *VERSION.as_bytes().first_chunk().unwrap(),
    warning: *b"Warning: pause should be the first process\n",
};

/// What is blocked while pause shuts down: SIGINT and SIGTERM, so that one line is all it says.
const MASK: u32 = 1 << (SIGINT - 1) | 1 << (SIGTERM - 1);

/// A message, and where it goes.
struct Line {
    fd: u32,
    address: usize,
    bytes: usize,
}

/// The program, from its start to its end. The kernel comes here twice: by `_start`, with
/// [`arch::START`] instead of a signal, and, as this is the handler of SIGINT and SIGTERM too, with
/// the signal. `interrupted` is the address of that message, which leads to all others.
///
/// # Safety
///
/// With a signal, nothing. Without one, `arguments` points at the pointers to the program's
/// arguments as the kernel laid them out, null behind the last, and at `actions` is what `_start`
/// laid out for [`take_actions`]. (A program without even a name, as Linux before 5.18 lets one
/// start, has its environment taken for arguments: null ends that as well.)
#[inline(always)]
unsafe fn program(
    signal: c_int,
    arguments: *const *const u8,
    actions: usize,
    interrupted: usize,
) -> ! {
    // How many of the steps that may be refused it has come to: what it exits with.
    let mut step = opaque(0);

    let last_words = if signal & arch::START == 0 {
        Some(line_for(signal, interrupted))
    } else {
        // SAFETY: it is the start, so the caller vouches for the arguments.
        unsafe { version_if_asked(arguments, interrupted) }
    };
    hold(interrupted);

    let mut stays = match last_words {
        Some(line) => {
            // SAFETY: it is one of the messages.
            unsafe { write(line) };
            false
        }
        None => {
            warn_unless_first(interrupted);
            // SAFETY: it is the start, so the caller vouches for the actions.
            unsafe { take_actions(actions, &mut step) }
        }
    };

    loop {
        if stays {
            reap_and_sleep();
        }
        exit_group(step);
        // Never reached. It names code that is there, where the compiler would put a jump or a trap
        // behind an end: 2 to 4 bytes.
        stays = true;
    }
}

/// What it says when it is told to leave by SIGINT or SIGTERM.
#[inline(always)]
fn line_for(signal: c_int, interrupted: usize) -> Line {
    let (back, bytes) = arch::line_for(signal);
    Line {
        fd: STDERR_FILENO,
        address: interrupted - back,
        bytes,
    }
}

/// Its version, where an argument asks for that.
///
/// # Safety
///
/// `arguments` is as for [`program`].
#[inline(always)]
unsafe fn version_if_asked(mut arguments: *const *const u8, interrupted: usize) -> Option<Line> {
    loop {
        // SAFETY: null, which ends the arguments, has not come yet.
        let argument = unsafe { arch::next_argument(&mut arguments) };
        if argument.is_null() {
            return None;
        }
        // SAFETY: the kernel put this argument where it is.
        if unsafe { arch::is_version_flag(argument) } {
            return Some(Line {
                fd: STDOUT_FILENO,
                address: at(interrupted, offset_of!(Messages, version)),
                bytes: VERSION.len(),
            });
        }
    }
}

/// Orphans become children of the first process alone.
#[inline(always)]
fn warn_unless_first(interrupted: usize) {
    // SAFETY: getpid(2) touches no memory.
    if unsafe { kernel::syscall0(__NR_getpid as usize) } as c_int != 1 {
        // SAFETY: it is one of the messages.
        unsafe {
            write(Line {
                fd: STDERR_FILENO,
                address: at(interrupted, offset_of!(Messages, warning)),
                bytes: MESSAGES.warning.len(),
            });
        }
    }
}

/// Has SIGINT and SIGTERM shut down, and SIGCHLD ignored: from there on the kernel reaps by itself,
/// and no orphan wakes pause up. False where the kernel refuses one of them. `step` tells which, and
/// is one more after the last.
///
/// # Safety
///
/// At `actions` the kernel finds two of its `struct sigaction`: first the one that shuts down, and
/// [`arch::IGNORE`] bytes further the one that ignores. They overlap, which saves making some words:
/// no handler returns, so nothing of the first's restorer is ever used, and of an ignored signal
/// neither restorer nor mask.
#[inline(always)]
unsafe fn take_actions(actions: usize, step: &mut usize) -> bool {
    // All three in one word, the first one lowest: one loop for them takes fewer bytes than three
    // calls.
    let mut signals = SIGINT | SIGTERM << arch::SIGNAL_BITS | SIGCHLD << (2 * arch::SIGNAL_BITS);
    loop {
        *step = opaque(*step + 1);
        if signals == 0 {
            return true;
        }
        let signal = signals & ((1 << arch::SIGNAL_BITS) - 1);
        // The bit of 16 is set in SIGCHLD alone: an offset without a branch.
        const { assert!(SIGCHLD & 16 == 16 && (SIGINT | SIGTERM) & 16 == 0) };
        let action = actions + (signals as usize & 16) * arch::IGNORE / 16;
        signals >>= arch::SIGNAL_BITS;
        // SAFETY: rt_sigaction(2) reads the action, and writes no old one at null.
        let refused = unsafe {
            kernel::syscall4(
                __NR_rt_sigaction as usize,
                signal as usize,
                action,
                0,
                size_of::<kernel_sigset_t>(),
            )
        };
        if refused as c_int != 0 {
            return false;
        }
    }
}

/// Takes the zombies from before SIGCHLD was ignored, as whoever dies after that becomes none. Then
/// sleeps, for good: it comes back only where it may not sleep, as trying again would keep a
/// processor busy.
#[inline(always)]
fn reap_and_sleep() {
    let (zero1, zero3) = (opaque(0), opaque(0));
    // SAFETY: wait4(2) writes nothing at null.
    while unsafe { wait4(-1, zero1, WNOHANG, zero3) } > 0 {}
    // SAFETY: both are 0.
    while unsafe { arch::sleep(zero1, zero3) } {}
}

/// # Safety
///
/// `status` and `usage` are null.
#[inline(always)]
unsafe fn wait4(pid: c_int, status: usize, options: u32, usage: usize) -> c_int {
    // SAFETY: as above.
    unsafe {
        kernel::syscall4(
            __NR_wait4 as usize,
            pid as usize,
            status,
            options as usize,
            usage,
        ) as c_int
    }
}

/// # Safety
///
/// There are so many bytes at the line's address.
#[inline(always)]
unsafe fn write(line: Line) {
    // SAFETY: write(2) only reads. Where it fails, pause goes on all the same.
    unsafe {
        kernel::syscall3(
            __NR_write as usize,
            line.fd as usize,
            line.address,
            line.bytes,
        )
    };
}

/// Never returns, but the compiler is not told: see [`program`].
#[inline(always)]
fn exit_group(code: usize) {
    // SAFETY: exit_group(2) touches no memory of ours.
    unsafe { kernel::syscall1(__NR_exit_group as usize, code) };
}

/// The address of the message at that offset of [`Messages`], from the one in between.
#[inline(always)]
fn at(interrupted: usize, offset: usize) -> usize {
    interrupted + (offset - offset_of!(Messages, interrupted))
}

/// The value, of which the compiler knows nothing any more: it keeps it in a register, where it
/// would make it again for each use.
#[inline(always)]
fn opaque(mut value: usize) -> usize {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {} */", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Has the compiler keep the value until here: it then computes others beside it and not in it.
#[inline(always)]
fn hold(value: usize) {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {} */", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Nothing here panics; the language wants to know what would happen.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
