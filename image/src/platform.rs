//! The platforms of the image and the binaries for them.

use anyhow::{Context, Error, Result, bail, ensure};
use object::{Architecture, Endianness, Object, ObjectKind};
use oci_spec::image::{self, Arch, Os, PlatformBuilder};
use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A platform that pause is built for. The operating system is always Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    name: &'static str,
    arch: &'static str,
    variant: Option<&'static str>,
    elf: Architecture,
    endianness: Endianness,
}

/// The platforms, in the image's order. Variants are those of the OCI image index ("Platform
/// Variants"), and of the config's.
const PLATFORMS: [Platform; 8] = [
    little("386", "386", None, Architecture::I386),
    little("amd64", "amd64", None, Architecture::X86_64),
    little("arm/v6", "arm", Some("v6"), Architecture::Arm),
    little("arm/v7", "arm", Some("v7"), Architecture::Arm),
    little("arm64", "arm64", Some("v8"), Architecture::Aarch64),
    little("ppc64le", "ppc64le", None, Architecture::PowerPc64),
    little("riscv64", "riscv64", None, Architecture::Riscv64),
    Platform {
        endianness: Endianness::Big,
        ..little("s390x", "s390x", None, Architecture::S390x)
    },
];

const fn little(
    name: &'static str,
    arch: &'static str,
    variant: Option<&'static str>,
    elf: Architecture,
) -> Platform {
    Platform {
        name,
        arch,
        variant,
        elf,
        endianness: Endianness::Little,
    }
}

impl Platform {
    /// As OCI writes it, after the operating system: arm/v7. A variant that its architecture always
    /// has is left out.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The architecture for a config.
    pub fn arch(self) -> Arch {
        self.arch.into()
    }

    /// The variant of the architecture, where it has some.
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
        PLATFORMS
            .into_iter()
            .find(|platform| platform.name == name)
            .with_context(|| {
                let known = PLATFORMS.map(Platform::name).join(", ");
                format!("no platform {name:?}; there are {known}")
            })
    }
}

/// The name of a platform of an index: where it is one of ours, as [`Platform::name`] has it.
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

/// The binary given for a platform.
pub struct Binary {
    pub platform: Platform,
    pub bytes: Vec<u8>,
    path: PathBuf,
}

impl Binary {
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(platform: Platform, path: &Path) -> Result<Self> {
        let bytes = fs::read(path)
            .with_context(|| format!("no binary for {}: {}", platform.name, path.display()))?;
        Ok(Self {
            platform,
            bytes,
            path: path.to_owned(),
        })
    }

    /// The architecture that the ELF header says, as OCI and Go call it.
    ///
    /// # Errors
    ///
    /// It is no ELF executable, or for no platform of ours.
    pub fn arch(&self) -> Result<Arch> {
        let path = self.path.display();
        let elf =
            object::File::parse(&*self.bytes).with_context(|| format!("{path} is no ELF file"))?;
        ensure!(
            matches!(elf.kind(), ObjectKind::Executable | ObjectKind::Dynamic),
            "{path} is an ELF file, but no executable"
        );
        let built_for = (elf.architecture(), elf.endianness());
        let mut platforms = PLATFORMS.into_iter();
        let Some(platform) = platforms.find(|it| (it.elf, it.endianness) == built_for) else {
            bail!("{path} is an ELF file for {built_for:?}");
        };
        Ok(platform.arch())
    }
}
