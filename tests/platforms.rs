//! The promises of the programs that make builds, on each platform: this machine's and 386's natively, the
//! others under qemu-user.

/// Makes a test of each function for each platform. Functions after `natively` run without an emulator only.
macro_rules! promises {
    ($($function:ident),* $(,)? $(; natively: $($native:ident),* $(,)?)?) => {
        promises! { [$($function)*]
            i386 "pause" "386",
            amd64 "pause" "amd64",
            arm_v6 "pause" "arm/v6",
            arm_v7 "pause" "arm/v7",
            arm64 "pause" "arm64",
            loong64 "pause" "loong64",
            ppc64le "pause" "ppc64le",
            riscv64 "pause" "riscv64",
            // amd64's and arm64's files are the same with either crate (pause-image/digests).
            riscv64_sc "pause-sc" "riscv64",
            s390x "pause" "s390x",
        }
        $(mod native {
            $(
                #[test]
                fn $native() {
                    sandbox::program::Program::natives().iter().for_each(super::$native);
                }
            )*
        })?
    };
    ($functions:tt $($platform:ident $directory:literal $name:literal,)*) => {
        $(promises! { @ $functions $platform $directory $name })*
    };
    (@ [$($function:ident)*] $platform:ident $directory:literal $name:literal) => {
        mod $platform {
            $(
                #[test]
                fn $function() {
                    super::$function(&sandbox::program::Program::new($directory, $name));
                }
            )*
        }
    };
}

mod behaviour;
mod cgroups;
mod elf;
mod files;
mod limits;
mod reaping;
mod signals;
mod start;
