//! The platforms of the image.

use anyhow::{Context, Error, Result};
use oci_spec::image::{self, Arch, Os, PlatformBuilder};
use std::str::FromStr;

/// The platforms in the image's order, as OCI writes them after the OS. Without the variant if the
/// architecture has only one.
const PLATFORMS: [&str; 8] = [
    "386", "amd64", "arm/v6", "arm/v7", "arm64", "ppc64le", "riscv64", "s390x",
];

/// A platform that pause is built for. The OS is Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// As OCI writes it after the OS: arm/v7.
    pub name: &'static str,
}

impl Platform {
    /// The architecture for a config.
    pub fn arch(self) -> Arch {
        let (arch, _) = self.name.split_once('/').unwrap_or((self.name, ""));
        arch.into()
    }

    /// The variant for a config, as the OCI image index has it ("Platform Variants").
    pub fn variant(self) -> Option<String> {
        let variant = match self.name {
            "arm64" => "v8",
            name => name.split_once('/')?.1,
        };
        Some(variant.to_owned())
    }

    /// The platform for an index.
    pub fn oci(self) -> Result<image::Platform> {
        let mut platform = PlatformBuilder::default()
            .architecture(self.arch())
            .os(Os::Linux)
            .build()?;
        platform.set_variant(self.variant());
        Ok(platform)
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let mut names = PLATFORMS.into_iter();
        let known = || format!("no platform {name:?}; there are {}", PLATFORMS.join(", "));
        let name = names.find(|it| *it == name).with_context(known)?;
        Ok(Self { name })
    }
}

/// The name of a platform in an index: [`Platform::name`] for one of ours.
pub fn name(platform: &image::Platform) -> String {
    let arch = platform.architecture();
    let variant = platform.variant();
    let mut ours = PLATFORMS.into_iter().map(|name| Platform { name });
    let ours = ours.find(|it| it.arch() == *arch && it.variant() == *variant);
    match (ours, variant) {
        (Some(ours), _) => ours.name.to_owned(),
        (None, Some(variant)) => format!("{arch}/{variant}"),
        (None, None) => arch.to_string(),
    }
}
