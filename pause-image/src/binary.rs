//! The binaries to pack.

use anyhow::{Context, Result, bail, ensure};
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
            let built_for = platform::arch_of(&bytes).with_context(|| path.to_owned())?;
            if *platform.architecture() != built_for.into() {
                swapped.push(format!("{path}, given as {name}, is for {built_for}"));
            }
            binaries.push(Self { platform, bytes });
        }
        ensure!(swapped.is_empty(), "{}", swapped.join("; "));
        Ok(binaries)
    }
}
