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
    interrupted: [u8; 37],
    terminated: [u8; 38],
    version: [u8; VERSION.len()],
    warning: [u8; 43],
}

static MESSAGES: Messages = Messages {
    interrupted: *b"Shutting down, got signal: Interrupt\n",
    terminated: *b"Shutting down, got signal: Terminated\n",
    version: *VERSION.as_bytes().first_chunk().unwrap(),
    warning: *b"Warning: pause should be the first process\n",
};

/// Two actions for rt_sigaction, which `_start` lays on the stack: each is handler, flags, restorer
/// and mask. The kernel uses no restorer and no mask where a signal is ignored, so these two words
/// of the first action are at once the first two of the second.
#[repr(C)]
struct Actions {
    ignore: [usize; 2],
    shut_down: kernel_sigaction,
}

/// The signals to take an action for, in one word, the first one lowest.
const SIGNALS: u32 = SIGINT | SIGTERM << arch::SIGNAL_BITS | SIGCHLD << (2 * arch::SIGNAL_BITS);

/// The program. The kernel comes here twice: through `_start`, with no signal (-1), and, as this is
/// the handler of SIGINT and SIGTERM too, with a signal and nothing else. The third and the fourth
/// parameter only keep the fifth out of the registers that system calls use.
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
    let messages = opaque(&raw const MESSAGES as usize) as *const u8;
    let mut code = opaque(0);

    'stay: {
        'leave: {
            let (fd, message, length) = 'say: {
                if signal >= 0 {
                    // Told to leave, it says by which signal. An eighth of 2 or 15 is 0 or 1:
                    // which of the two lines, and by how much it is the longer one.
                    const { assert!(SIGINT >> 3 == 0 && SIGTERM >> 3 == 1) };
                    let line = opaque(signal as usize >> 3);
                    let message = messages.wrapping_add(offset_of!(Messages, terminated) * line);
                    break 'say (STDERR_FILENO, message, MESSAGES.interrupted.len() + line);
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
                        let message = messages.wrapping_add(offset_of!(Messages, version));
                        break 'say (STDOUT_FILENO, message, VERSION.len());
                    }
                }

                // Orphans become children of the first process alone.
                if getpid() != 1 {
                    let message = messages.wrapping_add(offset_of!(Messages, warning));
                    // SAFETY: the message is that long.
                    unsafe { write(STDERR_FILENO, message, MESSAGES.warning.len()) };
                }
                hold(messages.addr());

                // SIGINT and SIGTERM shut down. SIGCHLD is ignored: from there on the kernel reaps
                // by itself, and no orphan wakes pause up. Refused the first, the second or the
                // third, it leaves with 1, 2 or 3.
                let mut signals = SIGNALS;
                while signals != 0 {
                    let signal = signals & ((1 << arch::SIGNAL_BITS) - 1);
                    // The bit of 2 is set in SIGINT and SIGTERM, but not in SIGCHLD.
                    const { assert!(SIGINT & SIGTERM & 2 == 2 && SIGCHLD & 2 == 0) };
                    const { assert!(offset_of!(Actions, shut_down) == 2 * 8) };
                    let action = actions.wrapping_byte_add(opaque(signals as usize & 2) * 8);
                    signals >>= arch::SIGNAL_BITS;
                    code += 1;
                    // SAFETY: `action` is one of the two of `actions`; no handler returns.
                    if unsafe { rt_sigaction(signal, action.cast()) } != 0 {
                        break 'leave;
                    }
                }
                break 'stay;
            };
            // SAFETY: each message came with its length.
            unsafe { write(fd, message, length) };
            hold(messages.addr());
        }
        exit_group(code);
    }

    // The zombies from before SIGCHLD was ignored: whoever dies after that is none.
    let (zero1, zero3) = (opaque(0), opaque(0));
    // SAFETY: the zeros are null pointers.
    while unsafe { wait4(-1, zero1, WNOHANG, zero3) } > 0 {}
    loop {
        // SAFETY: they still are.
        unsafe { arch::sleep(zero1, zero3) };
    }
}

/// # Safety
///
/// There are `length` bytes at `message`.
#[inline(always)]
unsafe fn write(fd: u32, message: *const u8, length: usize) {
    // SAFETY: write(2) only reads. Where it fails, pause goes on all the same.
    unsafe { kernel::syscall3(__NR_write as usize, fd as usize, message.addr(), length) };
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
