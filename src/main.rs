//! pause, the first process of a pod: it holds the pod's namespaces, has the kernel reap the
//! orphans, and sleeps until it is told to leave. This page is the whole program. What differs per
//! architecture is in `arch/`; where the bytes lie in the file is in `linker.ld`.

#![no_std]
#![no_main]
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64.rs")]
mod arch;

use core::{arch::asm, ffi::c_int, mem::offset_of};
use linux_raw_sys::general::*;
#[cfg(feature = "sc")]
use sc as kernel;
#[cfg(not(feature = "sc"))]
use syscalls::raw as kernel;

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

static MESSAGES: Messages = Messages {
    terminated: *b"Shutting down, got signal: Terminated\n",
    interrupted: *b"Shutting down, got signal: Interrupt\n",
    version: *VERSION.as_bytes().first_chunk().unwrap(),
    warning: *b"Warning: pause should be the first process\n",
};

/// Two actions for rt_sigaction, which `_start` lays on the stack: each is handler, flags, restorer
/// and mask. The kernel calls no restorer, as no handler returns, so that word of the first action
/// is at once the handler of the second, and the mask its flags. Where a signal is ignored, the
/// kernel uses neither restorer nor mask: whatever lies above on the stack will do.
#[repr(C)]
struct Actions {
    shut_down: [usize; 2],
    ignore: [usize; 2],
}

/// What is blocked while pause shuts down: SIGINT and SIGTERM, so that one line is all it says.
/// For SIGCHLD, which is ignored, the same bits are flags: SA_NOCLDWAIT, which then goes without
/// saying, and one that has no meaning.
const MASK: u32 = 1 << (SIGINT - 1) | 1 << (SIGTERM - 1);
const _: () = assert!(MASK == SA_NOCLDWAIT | 0x4000);

/// The signals to take an action for, in one word, the first one lowest.
const SIGNALS: u32 = SIGINT | SIGTERM << arch::SIGNAL_BITS | SIGCHLD << (2 * arch::SIGNAL_BITS);

/// The program. The kernel comes here twice: through `_start`, with no signal but the bit
/// [`arch::START`], and, as this is the handler of SIGINT and SIGTERM too, with a signal and nothing
/// else. The third and the fourth parameter only keep the fifth out of the registers that system
/// calls use.
///
/// # Safety
///
/// Nothing but the kernel and `_start` may come here, as it never returns. Without a signal,
/// `arguments` points at the pointers to the program's arguments as the kernel laid them out, null
/// behind the last, and `actions` at what `_start` made. (A program without even a name, as Linux
/// before 5.18 lets one start, has its environment taken for arguments: null ends that as well.)
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.run")]
unsafe extern "C" fn run(
    signal: c_int,
    mut arguments: *const *const u8,
    _: usize,
    _: usize,
    actions: *const Actions,
) -> ! {
    let interrupted = opaque(&raw const MESSAGES.interrupted as usize);
    // What it leaves with: how many of the steps that may be refused it has come to.
    let mut code = opaque(0);

    let mut leaving = 'begin: {
        'leave: {
            let (fd, message, length) = 'say: {
                if signal & arch::START == 0 {
                    // Told to leave, it says by which signal.
                    let (back, length) = arch::line_for(signal);
                    break 'say (STDERR_FILENO, opaque(interrupted - back), length);
                }

                // Asked for its version, it tells that and leaves.
                loop {
                    // SAFETY: null, which ends the arguments, has not come yet.
                    let argument = unsafe { arch::next_argument(&mut arguments) };
                    if argument.is_null() {
                        break;
                    }
                    // "-V\0", or "-v\0" but for the bit that makes a letter small.
                    // SAFETY: the kernel put this argument where it is.
                    if unsafe { arch::begins_with(argument, 0x00_56_2d, 0x00_20_00) } {
                        let message = at(interrupted, offset_of!(Messages, version));
                        break 'say (STDOUT_FILENO, message, VERSION.len());
                    }
                }

                // Orphans become children of the first process alone.
                if getpid() != 1 {
                    let message = at(interrupted, offset_of!(Messages, warning));
                    // SAFETY: the message is that long.
                    unsafe { write(STDERR_FILENO, message, MESSAGES.warning.len()) };
                }
                hold(interrupted);

                // SIGINT and SIGTERM shut down. SIGCHLD is ignored: from there on the kernel reaps
                // by itself, and no orphan wakes pause up. Refused the first, the second or the
                // third, it leaves with 1, 2 or 3.
                let mut signals = SIGNALS;
                loop {
                    code = opaque(code + 1);
                    if signals == 0 {
                        break 'begin false;
                    }
                    let signal = signals & ((1 << arch::SIGNAL_BITS) - 1);
                    // The bit of 16 is set in SIGCHLD alone, and so far apart are the actions.
                    const { assert!(SIGCHLD & 16 == 16 && (SIGINT | SIGTERM) & 16 == 0) };
                    const { assert!(offset_of!(Actions, ignore) == 16) };
                    let action = actions.wrapping_byte_add(signals as usize & 16);
                    signals >>= arch::SIGNAL_BITS;
                    // SAFETY: `action` is one of the two of `actions`; no handler returns.
                    if unsafe { rt_sigaction(signal, action.cast()) } != 0 {
                        break 'leave;
                    }
                }
            };
            // SAFETY: each message came with its length.
            unsafe { write(fd, message, length) };
            hold(interrupted);
        }
        true
    };

    loop {
        if leaving {
            exit_group(code);
        }
        // The zombies from before SIGCHLD was ignored: whoever dies after that is none.
        let (zero1, zero3) = (opaque(0), opaque(0));
        // SAFETY: the zeros are null pointers.
        while unsafe { wait4(-1, zero1, WNOHANG, zero3) } > 0 {}
        // SAFETY: they still are.
        while unsafe { arch::sleep(zero1, zero3) } {}
        // It may not sleep: it leaves with 4, where trying again would keep a processor busy.
        leaving = true;
    }
}

/// The address of the message at that offset of [`Messages`], from the one in between.
#[inline(always)]
fn at(interrupted: usize, offset: usize) -> usize {
    opaque(interrupted + (offset - offset_of!(Messages, interrupted)))
}

/// # Safety
///
/// There are `length` bytes at the address `message`.
#[inline(always)]
unsafe fn write(fd: u32, message: usize, length: usize) {
    // SAFETY: write(2) only reads. Where it fails, pause goes on all the same.
    unsafe { kernel::syscall3(__NR_write as usize, fd as usize, message, length) };
}

#[inline(always)]
fn getpid() -> c_int {
    // SAFETY: getpid(2) touches no memory.
    unsafe { kernel::syscall0(__NR_getpid as usize) as c_int }
}

/// # Safety
///
/// `action` is one that the kernel may follow when the signal comes.
#[inline(always)]
unsafe fn rt_sigaction(signal: u32, action: *const kernel_sigaction) -> c_int {
    let (signal, action, sigset_bytes) = (
        signal as usize,
        action.addr(),
        size_of::<core::ffi::c_ulong>(),
    );
    // SAFETY: rt_sigaction(2) reads the action, and writes no old one at null.
    unsafe {
        kernel::syscall4(__NR_rt_sigaction as usize, signal, action, 0, sigset_bytes) as c_int
    }
}

/// # Safety
///
/// `status` and `usage` are null.
#[inline(always)]
unsafe fn wait4(pid: c_int, status: usize, options: u32, usage: usize) -> c_int {
    // SAFETY: wait4(2) writes nothing at null.
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

/// Never returns, but the compiler is not told: it would put a trap behind it, which is never
/// reached either.
#[inline(always)]
fn exit_group(code: usize) {
    // SAFETY: exit_group(2) touches no memory of ours.
    unsafe { kernel::syscall1(__NR_exit_group as usize, code) };
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
