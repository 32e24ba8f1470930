//! The platforms of the image.

use anyhow::{Context, Result, ensure};
use oci_spec::image::{Os, Platform, PlatformBuilder};

/// The platforms in the image's order, as OCI writes them after the OS: without the variant if the
/// architecture has only one. With each, EI_CLASS, EI_DATA and e_machine in the ELF header of its binaries.
const PLATFORMS: [(&str, (u8, u8, u16)); 9] = [
    ("386", (1, 1, 3)),
    ("amd64", (2, 1, 62)),
    ("arm/v6", (1, 1, 40)),
    ("arm/v7", (1, 1, 40)),
    ("arm64", (2, 1, 183)),
    ("loong64", (2, 1, 258)),
    ("ppc64le", (2, 1, 21)),
    ("riscv64", (2, 1, 243)),
    ("s390x", (2, 2, 22)),
];

/// The platform of that name, as an index has it (OCI image index, "Platform Variants").
///
/// # Errors
///
/// pause is not built for the platform.
pub fn named(name: &str) -> Result<Platform> {
    let names = PLATFORMS.map(|(name, _)| name);
    let known = || format!("no platform {name:?}; there are {}", names.join(", "));
    let name = names.iter().find(|it| **it == name).with_context(known)?;
    let (arch, variant) = match name.split_once('/') {
        Some((arch, variant)) => (arch, Some(variant)),
        None => (*name, (*name == "arm64").then_some("v8")),
    };
    let platform = PlatformBuilder::default().architecture(arch).os(Os::Linux);
    let mut platform = platform.build()?;
    platform.set_variant(variant.map(str::to_owned));
    Ok(platform)
}

/// The name of a platform in an index. It leaves out arm64's one variant.
pub fn name(platform: &Platform) -> String {
    let arch = platform.architecture();
    match platform.variant() {
        Some(variant) if format!("{arch}/{variant}") != "arm64/v8" => format!("{arch}/{variant}"),
        _ => arch.to_string(),
    }
}

/// The architecture that a binary is built for, by its OCI name.
///
/// # Errors
///
/// The binary is not an ELF executable, or for an architecture that pause is not built for.
pub fn arch_of(binary: &[u8]) -> Result<&'static str> {
    // The header of 32 bits, the shorter one, has 52 bytes.
    let is_elf = binary.starts_with(b"\x7fELF") && binary.len() >= 52;
    ensure!(is_elf, "not an ELF file");
    let (class, data) = (binary[4], binary[5]);
    let half = |at| match [binary[at], binary[at + 1]] {
        it if data == 2 => u16::from_be_bytes(it),
        it => u16::from_le_bytes(it),
    };
    // ET_EXEC and ET_DYN.
    let is_executable = [2, 3].contains(&half(16));
    ensure!(is_executable, "an ELF file, but not an executable");
    let elf = (class, data, half(18));
    let platform = PLATFORMS.iter().find(|(_, it)| *it == elf);
    let (name, _) = platform.context("for an architecture that pause is not built for")?;
    Ok(name.split('/').next().unwrap_or(name))
}
