//! The binaries to pack.

use anyhow::{Context, Result, bail, ensure};
use object::{Architecture, Endianness, Object, ObjectKind};
use oci_spec::image::Platform;
use pause_image::platform;
use std::fs;

/// The binary of a platform.
pub struct Binary {
    pub platform: Platform,
    pub bytes: Vec<u8>,
}

impl Binary {
    /// Reads the binaries of `PLATFORM=FILE` arguments.
    ///
    /// # Errors
    ///
    /// A platform is unknown or given twice. A file cannot be read or is not an ELF executable. Files are
    /// for other platforms: one error names them all.
    pub fn read_all(arguments: &[String]) -> Result<Vec<Self>> {
        let mut binaries: Vec<Self> = Vec::new();
        let mut swapped = Vec::new();
        for argument in arguments {
            let Some((name, path)) = argument.split_once('=') else {
                bail!("{argument:?} is not PLATFORM=FILE");
            };
            let platform = platform::named(name)?;
            if binaries.iter().any(|binary| binary.platform == platform) {
                bail!("platform {name} is given twice");
            }
            let bytes = fs::read(path).with_context(|| format!("no binary for {name}: {path}"))?;
            let built_for = arch(&bytes).with_context(|| path.to_owned())?;
            if *platform.architecture() != built_for.into() {
                swapped.push(format!("{path}, given as {name}, is for {built_for}"));
            }
            binaries.push(Self { platform, bytes });
        }
        ensure!(swapped.is_empty(), "{}", swapped.join("; "));
        Ok(binaries)
    }
}

/// The architecture in the ELF header, by its OCI name.
fn arch(binary: &[u8]) -> Result<&'static str> {
    let elf = object::File::parse(binary).context("not an ELF file")?;
    let is_executable = matches!(elf.kind(), ObjectKind::Executable | ObjectKind::Dynamic);
    ensure!(is_executable, "an ELF file, but not an executable");
    Ok(match (elf.architecture(), elf.endianness()) {
        (Architecture::I386, _) => "386",
        (Architecture::X86_64, _) => "amd64",
        (Architecture::Arm, Endianness::Little) => "arm",
        (Architecture::Aarch64, Endianness::Little) => "arm64",
        (Architecture::PowerPc64, Endianness::Little) => "ppc64le",
        (Architecture::Riscv64, Endianness::Little) => "riscv64",
        (Architecture::S390x, _) => "s390x",
        other => bail!("an ELF file for {other:?}, which pause is not built for"),
    })
}
