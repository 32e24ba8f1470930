//! The programs under test: the binaries that ship, and those built on the crate sc.

use crate::built;
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, process::Command};

/// What pause prints where it is not PID 1.
pub const WARNING: &str = "Warning: pause should be the first process\n";
/// What pause prints on SIGINT.
pub const INTERRUPT: &str = "Shutting down, got signal: Interrupt\n";
/// What pause prints on SIGTERM.
pub const TERMINATED: &str = "Shutting down, got signal: Terminated\n";

/// A platform of the image, and what the tests know about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// OCI's name: 386, arm/v7.
    pub name: &'static str,
    /// The architecture its program is built for, a directory in target/pause: 386, arm.
    pub arch: &'static str,
    /// The qemu-user command that runs the program elsewhere, with its options.
    emulator: &'static str,
    /// The size limit of the program in bytes, for a version of [`VERSION_LENGTH`].
    pub goal: u64,
    /// The largest page size of its kernels, in bytes.
    pub page: u64,
    /// The system call that the program sleeps in.
    pub sleep: &'static str,
}

/// The length of "0.1.0".
pub const VERSION_LENGTH: u64 = 5;

/// All platforms, in the image's order.
pub static PLATFORMS: [Platform; 9] = [
    platform("386", "qemu-i386", 480, 0x1000, "pause"),
    platform("amd64", "qemu-x86_64", 512, 0x1000, "pause"),
    platform("arm/v6", "qemu-arm -cpu arm1176", 480, 0x10000, "pause"),
    platform("arm/v7", "qemu-arm -cpu cortex-a7", 480, 0x10000, "pause"),
    platform("arm64", "qemu-aarch64", 576, 0x10000, "ppoll"),
    platform("loong64", "qemu-loongarch64", 612, 0x10000, "ppoll"),
    platform("ppc64le", "qemu-ppc64le", 736, 0x10000, "pause"),
    platform("riscv64", "qemu-riscv64", 576, 0x10000, "ppoll"),
    platform("s390x", "qemu-s390x", 640, 0x1000, "pause"),
];

const fn platform(
    name: &'static str,
    emulator: &'static str,
    goal: u64,
    page: u64,
    sleep: &'static str,
) -> Platform {
    // One program runs on all variants of arm.
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
    /// Finds a platform by its name.
    pub fn of(name: &str) -> &'static Self {
        let found = PLATFORMS.iter().find(|platform| platform.name == name);
        found.unwrap_or_else(|| panic!("no platform {name}"))
    }

    /// The platform that the tests were compiled for.
    pub fn native() -> &'static Self {
        Self::of(if cfg!(target_arch = "arm") {
            "arm/v7"
        } else {
            NATIVE_ARCH
        })
    }

    /// Whether this machine runs the platform's program without an emulator.
    pub fn is_native(&self) -> bool {
        self.arch == NATIVE_ARCH || (NATIVE_ARCH, self.arch) == ("amd64", "386")
    }

    /// The qemu-user command that runs the program elsewhere, without its options.
    pub fn emulator(&self) -> &'static str {
        self.emulator.split(' ').next().unwrap()
    }

    /// The options that make podman pull this platform.
    pub fn options(&self) -> Vec<&'static str> {
        let variant = self.variant().filter(|_| self.name.contains('/'));
        let variant = variant.into_iter().flat_map(|it| ["--variant", it]);
        ["--arch", self.arch].into_iter().chain(variant).collect()
    }

    /// OCI's variant of the architecture, if it has one.
    pub fn variant(&self) -> Option<&'static str> {
        match self.name.split_once('/') {
            Some((_, variant)) => Some(variant),
            None => (self.name == "arm64").then_some("v8"),
        }
    }
}

/// OCI's name of the architecture that the tests were compiled for.
pub const NATIVE_ARCH: &str = match std::env::consts::ARCH.as_bytes() {
    b"aarch64" => "arm64",
    b"loongarch64" => "loong64",
    b"powerpc64" => "ppc64le",
    b"x86" => "386",
    b"x86_64" => "amd64",
    _ => std::env::consts::ARCH,
};

/// A built pause.
pub struct Program {
    pub platform: &'static Platform,
    pub path: PathBuf,
}

impl Program {
    /// The program in target/`directory` for a platform.
    pub fn new(directory: &str, platform: &str) -> Self {
        let platform = Platform::of(platform);
        Self {
            platform,
            path: built(&format!("{directory}/{}/pause", platform.arch)),
        }
    }

    /// The program of this machine's platform.
    pub fn native() -> Self {
        Self::new("pause", Platform::native().name)
    }

    /// The programs that this machine runs without an emulator.
    pub fn natives() -> Vec<Self> {
        let natives = PLATFORMS.iter().filter(|platform| platform.is_native());
        natives.map(|it| Self::new("pause", it.name)).collect()
    }

    /// The command line that starts it.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let path = self.path.clone().into_os_string().into_vec();
        [self.emulated(&[]), vec![path]].concat()
    }

    /// The file to execute and the arguments that start the program with `name` as `argv[0]`.
    pub fn words_named(&self, name: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
        let path = self.path.clone().into_os_string().into_vec();
        let emulator = self.emulated(&["-0", name]);
        match emulator.first() {
            Some(first) => (first.clone(), [emulator, vec![path]].concat()),
            None => (path, vec![name.into()]),
        }
    }

    /// The emulator's command line with more `options`, or nothing where the program runs natively.
    fn emulated(&self, options: &[&str]) -> Vec<Vec<u8>> {
        if self.platform.is_native() {
            return Vec::new();
        }
        let command = format!("/usr/bin/{}-static", self.platform.emulator());
        let processor = self.platform.emulator.split(' ').skip(1);
        let options = processor.chain(options.iter().copied());
        let words = [&*command].into_iter().chain(options);
        words.map(|it| it.as_bytes().to_vec()).collect()
    }

    /// A command that runs it, without arguments.
    pub fn command(&self) -> Command {
        let mut words = self.words().into_iter().map(OsString::from_vec);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command
    }
}
