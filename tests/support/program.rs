//! The programs under test: the files that ship, and the same built on the other backend.

use crate::built;
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, process::Command};

/// What it says where it is not the first process.
pub const WARNING: &str = "Warning: pause should be the first process\n";
/// What it says when SIGINT ends it.
pub const INTERRUPT: &str = "Shutting down, got signal: Interrupt\n";
/// What it says when SIGTERM ends it.
pub const TERMINATED: &str = "Shutting down, got signal: Terminated\n";

/// A platform of the image, and what the tests know of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// As OCI calls it: 386, arm/v7.
    pub name: &'static str,
    /// What its program is built for, a folder below target/pause: 386, arm.
    pub arch: &'static str,
    /// What runs it on other machines: a command of qemu-user, and for which processor.
    emulator: &'static [&'static str],
    /// Bytes that its program may have, with a version of [`VERSION_LENGTH`].
    pub goal: u64,
    /// Bytes of the largest page that its kernel may have.
    pub page: u64,
    /// The system call that its program sleeps by.
    pub sleep: &'static str,
}

/// Bytes of "0.1.0".
pub const VERSION_LENGTH: u64 = 5;

/// All of them, in the image's order.
pub static PLATFORMS: [Platform; 8] = [
    platform("386", &["qemu-i386-static"], 480, 0x1000, "pause"),
    platform("amd64", &["qemu-x86_64-static"], 512, 0x1000, "pause"),
    platform(
        "arm/v6",
        &["qemu-arm-static", "-cpu", "arm1176"],
        480,
        0x10000,
        "pause",
    ),
    platform(
        "arm/v7",
        &["qemu-arm-static", "-cpu", "cortex-a7"],
        480,
        0x10000,
        "pause",
    ),
    platform("arm64", &["qemu-aarch64-static"], 576, 0x10000, "ppoll"),
    platform("ppc64le", &["qemu-ppc64le-static"], 736, 0x10000, "pause"),
    platform("riscv64", &["qemu-riscv64-static"], 576, 0x10000, "ppoll"),
    platform("s390x", &["qemu-s390x-static"], 640, 0x1000, "pause"),
];

const fn platform(
    name: &'static str,
    emulator: &'static [&'static str],
    goal: u64,
    page: u64,
    sleep: &'static str,
) -> Platform {
    // Of those with variants, one program runs on all that have a name of their own here.
    let arch = match name.as_bytes() {
        [b'a', b'r', b'm', b'/', ..] => "arm",
        _ => name,
    };
    Platform {
        name,
        arch,
        emulator,
        goal,
        page,
        sleep,
    }
}

impl Platform {
    /// The platform of that name.
    pub fn of(name: &str) -> &'static Self {
        let found = PLATFORMS.iter().find(|platform| platform.name == name);
        found.unwrap_or_else(|| panic!("no platform {name}"))
    }

    /// What the tests were compiled for.
    pub fn native() -> &'static Self {
        Self::of(if cfg!(target_arch = "arm") {
            "arm/v7"
        } else {
            NATIVE_ARCH
        })
    }

    /// Whether the machine runs its programs without an emulator.
    pub fn is_native(&self) -> bool {
        self.arch == NATIVE_ARCH || (NATIVE_ARCH, self.arch) == ("amd64", "386")
    }

    /// The command of qemu-user that runs its programs on other machines.
    pub fn emulator(&self) -> &'static str {
        self.emulator[0]
    }

    /// The options by which podman is asked for it.
    pub fn options(&self) -> Vec<&'static str> {
        let variant = self.variant().filter(|_| self.name.contains('/'));
        let variant = variant.into_iter().flat_map(|it| ["--variant", it]);
        ["--arch", self.arch].into_iter().chain(variant).collect()
    }

    /// The variant of the architecture, where OCI has some.
    pub fn variant(&self) -> Option<&'static str> {
        match self.name.split_once('/') {
            Some((_, variant)) => Some(variant),
            None => (self.name == "arm64").then_some("v8"),
        }
    }
}

/// What the tests were compiled for, as OCI calls it.
pub const NATIVE_ARCH: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "x86") {
    "386"
} else if cfg!(target_arch = "arm") {
    "arm"
} else if cfg!(target_arch = "powerpc64") {
    "ppc64le"
} else if cfg!(target_arch = "riscv64") {
    "riscv64"
} else if cfg!(target_arch = "s390x") {
    "s390x"
} else {
    assert!(cfg!(target_arch = "aarch64"), "pause is not built for this");
    "arm64"
};

/// A built pause.
pub struct Program {
    pub platform: &'static Platform,
    pub path: PathBuf,
}

impl Program {
    /// The program for that platform in target/`folder`.
    pub fn new(folder: &str, platform: &str) -> Self {
        let platform = Platform::of(platform);
        Self {
            platform,
            path: built(&format!("{folder}/{}/pause", platform.arch)),
        }
    }

    /// The one of the machine's own platform.
    pub fn native() -> Self {
        Self::new("pause", Platform::native().name)
    }

    /// The ones that the machine runs without an emulator.
    pub fn natives() -> Vec<Self> {
        let natives = PLATFORMS.iter().filter(|platform| platform.is_native());
        natives.map(|it| Self::new("pause", it.name)).collect()
    }

    /// The words that start it.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let path = self.path.clone().into_os_string().into_vec();
        [self.emulated(&[]), vec![path]].concat()
    }

    /// The file to execute, and the words that start it under another name than that of its file.
    pub fn words_named(&self, name: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
        let path = self.path.clone().into_os_string().into_vec();
        let emulator = self.emulated(&["-0", name]);
        match emulator.first() {
            Some(first) => (first.clone(), [emulator, vec![path]].concat()),
            None => (path, vec![name.into()]),
        }
    }

    /// The emulator with these options of it, or nothing where the machine needs none.
    fn emulated(&self, options: &[&str]) -> Vec<Vec<u8>> {
        if self.platform.is_native() {
            return Vec::new();
        }
        let [command, processor @ ..] = self.platform.emulator else {
            unreachable!("each has one")
        };
        let options = processor.iter().chain(options);
        let options = options.map(|it| it.as_bytes().to_vec());
        let command = format!("/usr/bin/{command}").into_bytes();
        [command].into_iter().chain(options).collect()
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
                $crate::tests_of_programs!(
                    $function,
                    i386 "pause" "386",
                    amd64 "pause" "amd64",
                    arm_v6 "pause" "arm/v6",
                    arm_v7 "pause" "arm/v7",
                    arm64 "pause" "arm64",
                    ppc64le "pause" "ppc64le",
                    riscv64 "pause" "riscv64",
                    // The only one that is not the same file with the other crate.
                    riscv64_sc "pause-sc" "riscv64",
                    s390x "pause" "s390x",
                );
            }
        )*
        $(
            #[cfg(test)]
            mod $native {
                #[test]
                fn native() {
                    for program in $crate::program::Program::natives() {
                        println!("{}", program.path.display());
                        super::$native(&program);
                    }
                }
            }
        )*
    };
}

/// Makes a test of a function for each of these programs: its name, its folder, its platform.
#[macro_export]
macro_rules! tests_of_programs {
    ($function:ident, $($name:ident $folder:literal $platform:literal,)*) => {
        $(
            #[test]
            fn $name() {
                super::$function(&$crate::program::Program::new($folder, $platform));
            }
        )*
    };
}
