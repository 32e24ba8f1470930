//! The platforms of the image.

use anyhow::{Context, Result};
use oci_spec::image::{Os, Platform, PlatformBuilder};

/// The platforms in the image's order, as OCI writes them after the OS. Without the variant if the
/// architecture has only one.
const PLATFORMS: [&str; 8] = [
    "386", "amd64", "arm/v6", "arm/v7", "arm64", "ppc64le", "riscv64", "s390x",
];

/// The platform of that name, as an index has it (OCI image index, "Platform Variants").
///
/// # Errors
///
/// pause is not built for the platform.
pub fn named(name: &str) -> Result<Platform> {
    let known = || format!("no platform {name:?}; there are {}", PLATFORMS.join(", "));
    let name = PLATFORMS.into_iter().find(|it| *it == name);
    let name = name.with_context(known)?;
    let (arch, variant) = match name.split_once('/') {
        Some((arch, variant)) => (arch, Some(variant)),
        None => (name, (name == "arm64").then_some("v8")),
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
