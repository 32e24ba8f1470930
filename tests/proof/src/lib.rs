//! What each byte of pause is for. The file that ships is loaded as Linux would, and its machine code
//! run in an emulator, with the kernel's side of it modelled: through all its paths, and with each
//! bit of it flipped.

pub mod code;
pub mod elf;
pub mod listing;
pub mod machine;
pub mod scenarios;
pub mod seccomp;

use anyhow::Result;
use std::{fs, path::PathBuf};
use tests::{built, program::Program, project};

/// A processor that pause is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    Amd64,
    Arm64,
}

/// One of the files that ship, or the same of the other backend.
pub struct Binary {
    pub arch: Arch,
    /// The crate that makes the system calls.
    pub backend: &'static str,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Binary {
    /// All four, as `make` builds them.
    pub fn all() -> Vec<Self> {
        let folders = [("pause", "syscalls"), ("pause-sc", "sc")];
        let archs = [("amd64", Arch::Amd64), ("arm64", Arch::Arm64)];
        archs
            .into_iter()
            .flat_map(|arch| folders.map(|folder| (arch, folder)))
            .map(|((name, arch), (folder, backend))| {
                let path = Program::new(folder, name).path;
                let bytes = fs::read(&path).unwrap();
                Self {
                    arch,
                    backend,
                    path,
                    bytes,
                }
            })
            .collect()
    }

    /// What it is called in a report: amd64 (syscalls).
    pub fn name(&self) -> String {
        let arch = match self.arch {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        };
        format!("{arch} ({})", self.backend)
    }
}

/// The files that go with those that ship, with what has to be in them: a listing for each
/// architecture, and the seccomp profile.
///
/// # Errors
///
/// Those of [`listing::list`] and [`seccomp::profile`].
pub fn audit() -> Result<Vec<(PathBuf, String)>> {
    let binaries = Binary::all();
    let mut files = Vec::new();
    for (arch, name) in [(Arch::Amd64, "amd64"), (Arch::Arm64, "arm64")] {
        let binary = binaries
            .iter()
            .find(|it| it.arch == arch)
            .expect("all are there");
        let unstripped = built(&format!("pause-unstripped/{name}/pause"));
        let path = project().join(format!("tests/proof/listings/{name}.txt"));
        files.push((path, listing::list(binary, &unstripped)?));
    }
    let profile = seccomp::profile(&binaries)?;
    files.push((project().join("image/seccomp.json"), profile));
    Ok(files)
}
