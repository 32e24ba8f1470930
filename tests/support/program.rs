//! The programs under test: the files that ship, and the same built on the other backend.

use crate::built;
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, process::Command};

/// What it says where it is not the first process.
pub const WARNING: &str = "Warning: pause should be the first process\n";
/// What it says when SIGINT ends it.
pub const INTERRUPT: &str = "Shutting down, got signal: Interrupt\n";
/// What it says when SIGTERM ends it.
pub const TERMINATED: &str = "Shutting down, got signal: Terminated\n";

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

    /// The one that ships for the machine that the tests run on.
    pub fn of_host() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => panic!("pause is not built for {other}"),
        };
        Self::new("pause", arch)
    }

    /// The ones that the machine runs without an emulator, one per backend.
    pub fn natives() -> [Self; 2] {
        ["pause", "pause-sc"].map(|folder| Self::new(folder, Self::of_host().arch))
    }

    /// Whether the machine runs it without an emulator.
    pub fn is_native(&self) -> bool {
        self.arch == Self::of_host().arch
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

/// Makes a test of each function for each program, as FUNCTION::PROGRAM.
#[macro_export]
macro_rules! for_each_program {
    ($($function:ident),+ $(,)?) => {$(
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
    )+};
}
