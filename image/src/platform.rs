//! The platforms of the image and the binaries for them.

use anyhow::{Context, Error, Result, bail, ensure};
use object::{Architecture, Object, ObjectKind};
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
    variant: Option<&'static str>,
    elf: Architecture,
}

const PLATFORMS: [Platform; 2] = [
    Platform {
        name: "amd64",
        variant: None,
        elf: Architecture::X86_64,
    },
    Platform {
        name: "arm64",
        variant: Some("v8"),
        elf: Architecture::Aarch64,
    },
];

impl Platform {
    /// The architecture as OCI, and Go, call it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The architecture for a config.
    pub fn arch(self) -> Arch {
        self.name.into()
    }

    /// The variant of the architecture, where it has some (OCI image index, "Platform Variants").
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

    /// The platform that the ELF header says.
    ///
    /// # Errors
    ///
    /// It is no 64-bit ELF executable, or for no platform of ours.
    pub fn built_for(&self) -> Result<Platform> {
        let path = self.path.display();
        let elf = object::read::elf::ElfFile64::<object::Endianness>::parse(&*self.bytes)
            .with_context(|| format!("{path} is no 64-bit ELF file"))?;
        ensure!(
            matches!(elf.kind(), ObjectKind::Executable | ObjectKind::Dynamic),
            "{path} is an ELF file, but no executable"
        );
        let Some(platform) = PLATFORMS
            .into_iter()
            .find(|platform| platform.elf == elf.architecture() && elf.is_little_endian())
        else {
            bail!("{path} is an ELF file for {:?}", elf.architecture());
        };
        Ok(platform)
    }
}
