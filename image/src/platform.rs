//! The platforms of the image.

use anyhow::{Context, Error, Result};
use oci_spec::image::{self, Arch, Os, PlatformBuilder};
use std::str::FromStr;

/// A platform that pause is built for. The OS is Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// As OCI writes it after the OS: arm/v7. Without the variant if the architecture has only one.
    pub name: &'static str,
    arch: &'static str,
    variant: Option<&'static str>,
}

/// The platforms in the image's order, with the variants of the OCI image index ("Platform Variants").
const PLATFORMS: [Platform; 8] = [
    platform("386", "386", None),
    platform("amd64", "amd64", None),
    platform("arm/v6", "arm", Some("v6")),
    platform("arm/v7", "arm", Some("v7")),
    platform("arm64", "arm64", Some("v8")),
    platform("ppc64le", "ppc64le", None),
    platform("riscv64", "riscv64", None),
    platform("s390x", "s390x", None),
];

const fn platform(
    name: &'static str,
    arch: &'static str,
    variant: Option<&'static str>,
) -> Platform {
    Platform {
        name,
        arch,
        variant,
    }
}

impl Platform {
    /// The architecture for a config.
    pub fn arch(self) -> Arch {
        self.arch.into()
    }

    /// The variant for a config, if the architecture has variants.
    pub fn variant(self) -> Option<String> {
        self.variant.map(str::to_owned)
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
        let mut platforms = PLATFORMS.into_iter();
        platforms.find(|it| it.name == name).with_context(|| {
            let known = PLATFORMS.map(|it| it.name).join(", ");
            format!("no platform {name:?}; there are {known}")
        })
    }
}

/// The name of a platform in an index: [`Platform::name`] for one of ours.
pub fn name(platform: &image::Platform) -> String {
    let arch = platform.architecture();
    let variant = platform.variant();
    let mut ours = PLATFORMS.into_iter();
    let ours = ours.find(|it| it.arch() == *arch && it.variant() == *variant);
    match (ours, variant) {
        (Some(ours), _) => ours.name.to_owned(),
        (None, Some(variant)) => format!("{arch}/{variant}"),
        (None, None) => arch.to_string(),
    }
}
