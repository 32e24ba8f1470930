//! The programs under test: the files that ship, and the same built on the other backend.

use crate::built;
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, process::Command};

/// What it says where it is not the first process.
pub const WARNING: &str = "Warning: pause should be the first process\n";
/// What it says when SIGINT ends it.
pub const INTERRUPT: &str = "Shutting down, got signal: Interrupt\n";
/// What it says when SIGTERM ends it.
pub const TERMINATED: &str = "Shutting down, got signal: Terminated\n";

/// What the tests were compiled for, as OCI calls it.
pub const NATIVE_ARCH: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else {
    assert!(cfg!(target_arch = "aarch64"), "pause is not built for this");
    "arm64"
};

/// A built pause.
pub struct Program {
    /// As OCI calls it: amd64, arm64.
    pub arch: &'static str,
    pub path: PathBuf,
}

impl Program {
    /// The program for `arch` in target/`folder`.
    pub fn new(folder: &str, arch: &'static str) -> Self {
        Self {
            arch,
            path: built(&format!("{folder}/{arch}/pause")),
        }
    }

    /// The one in target/`folder` that the machine runs without an emulator.
    pub fn native(folder: &str) -> Self {
        Self::new(folder, NATIVE_ARCH)
    }

    /// The ones that the machine runs without an emulator, one per backend.
    pub fn natives() -> [Self; 2] {
        ["pause", "pause-sc"].map(Self::native)
    }

    /// Whether the machine runs it without an emulator.
    pub fn is_native(&self) -> bool {
        self.arch == NATIVE_ARCH
    }

    /// The words that start it.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let emulator = match (self.is_native(), self.arch) {
            (true, _) => None,
            (false, "amd64") => Some("/usr/bin/qemu-x86_64-static"),
            (false, _) => Some("/usr/bin/qemu-aarch64-static"),
        };
        emulator
            .map(OsString::from)
            .into_iter()
            .chain([self.path.clone().into()])
            .map(OsStringExt::into_vec)
            .collect()
    }

    /// A command that runs it, without arguments.
    pub fn command(&self) -> Command {
        let mut words = self.words().into_iter().map(OsString::from_vec);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command
    }
}

/// Makes a test of each function for each program, as FUNCTION::PROGRAM, and for the native ones
/// alone of those behind `natively`. [`INSIDE`](self) lists them for the kernels' init.
#[macro_export]
macro_rules! for_each_program {
    ($($function:ident),+ $(,)?) => {
        $crate::for_each_program!($($function),+; natively: );
    };
    ($($function:ident),* ; natively: $($native:ident),* $(,)?) => {
        #[allow(dead_code, reason = "what is tested here, an init runs again in other kernels")]
        pub const INSIDE: &[(&str, fn(&$crate::program::Program))] = &[
            $((stringify!($function), $function),)*
            $((stringify!($native), $native),)*
        ];
        $(
            #[cfg(test)]
            mod $function {
                use $crate::program::Program;

                #[test]
                fn amd64() {
                    super::$function(&Program::new("pause", "amd64"));
                }
                #[test]
                fn arm64() {
                    super::$function(&Program::new("pause", "arm64"));
                }
                #[test]
                fn amd64_sc() {
                    super::$function(&Program::new("pause-sc", "amd64"));
                }
                #[test]
                fn arm64_sc() {
                    super::$function(&Program::new("pause-sc", "arm64"));
                }
            }
        )*
        $(
            #[cfg(test)]
            mod $native {
                use $crate::program::Program;

                #[test]
                fn syscalls() {
                    super::$native(&Program::native("pause"));
                }
                #[test]
                fn sc() {
                    super::$native(&Program::native("pause-sc"));
                }
            }
        )*
    };
}
