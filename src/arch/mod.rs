//! What differs per architecture: one file each, with the same items in the same order. Items that most
//! architectures share are in `portable.rs`; a file takes them with `pub use`.
//!
//! # Who calls what
//!
//! ```text
//! the kernel starts pause      -> _start   puts the two actions on the stack,
//!                                    |     sets the parameters of entry, and falls into it
//!                                    v
//! SIGINT or SIGTERM arrives    -> entry    calls start_or_handle (main.rs), which never returns
//! ```
//!
//! At `_start` the stack pointer is at argc. After that come the pointers to the program's name and to each
//! argument, then null. `_start` passes [`NO_SIGNAL`] where a handler gets its signal. It passes `arguments`
//! and `actions`, too, which a handler does not read. linker.ld leaves no gap between `_start` and `entry`.
//!
//! On x86, x86_64 and powerpc64 the handler is not `entry` but the label `2` just above it, in `_start`.
//! The instructions after the label run for a signal, too: x86 needs them for `signal`, powerpc64 for
//! `sigint_line`, and on x86_64 a handler ignores what they set.
//!
//! # The two actions
//!
//! rt_sigaction(2) takes the kernel's `struct sigaction`. SIGINT and SIGTERM share one. That of SIGCHLD
//! begins [`IGNORE_OFFSET`] bytes further, which is inside the first:
//!
//! ```text
//! word   SIGINT and SIGTERM                        SIGCHLD
//! 0      handler: entry, or the label above it
//! 1      flags: SA_RESTORER on x86, x86_64; or 0
//! 2      restorer: 1, never used                   handler: SIG_IGN, which is 1
//! 3      mask: MASK                                flags: MASK, read as SA_NOCLDWAIT and an unused bit
//! ```
//!
//! They can share words 2 and 3: a handler that never returns needs no restorer, ignoring SIGCHLD implies
//! SA_NOCLDWAIT, and nothing uses the restorer and the mask of an ignored signal. With 32-bit words a mask
//! has two. The second is argc, which can only block real-time signals, and only while pause shuts down.
//!
//! riscv64's `struct sigaction` has no restorer, and its two actions share nothing:
//!
//! ```text
//! word   SIGINT and SIGTERM                        SIGCHLD
//! 0      handler: entry
//! 1      flags: 0
//! 2      mask: MASK
//! 3                                                handler: SIG_IGN
//! 4                                                flags: 0
//! ```
//!
//! Nor has loongarch64's. There they share all but the handler: Linux looks at the flag SA_NOCLDSTOP, which is
//! 1 as well, for SIGCHLD alone.
//!
//! ```text
//! word   SIGINT and SIGTERM                        SIGCHLD
//! 0      handler: entry
//! 1      flags: SA_NOCLDSTOP                       handler: SIG_IGN
//! 2      mask: MASK                                flags: MASK
//! ```

mod portable;
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "arm", path = "arm.rs")]
#[cfg_attr(target_arch = "loongarch64", path = "loongarch64.rs")]
#[cfg_attr(target_arch = "powerpc64", path = "powerpc64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "s390x.rs")]
#[cfg_attr(target_arch = "x86", path = "x86.rs")]
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
mod this;

pub use this::*;
