//! The promises of the program that cargo builds for this machine: `cargo test`.

use sandbox::program::{Platform, Program};

/// Makes a test of each function, which takes the program.
macro_rules! promises {
    ($($function:ident),* $(,)? $(; natively: $($native:ident),* $(,)?)?) => {
        #[cfg(test)]
        mod native {
            $(#[test] fn $function() { super::$function(&crate::program()); })*
            $($(#[test] fn $native() { super::$native(&crate::program()); })*)?
        }
    };
}

mod behaviour;
mod elf;
mod limits;
mod reaping;
mod signals;
mod start;

/// Runs before any thread: a user becomes root in a namespace.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = sandbox::become_root;

fn program() -> Program {
    Program {
        platform: Platform::native(),
        path: env!("CARGO_BIN_EXE_pause").into(),
    }
}
