//! The digests of what `make` builds, by name.

use anyhow::{Context, Result, ensure};
use oci_spec::image::Sha256Digest;
use pause_image::{layout::sha256, read::Files};
use std::{fmt, fs, path::Path};

/// The folders below target/ with a program per architecture, one for each system call crate.
const PROGRAMS: [&str; 2] = ["pause", "pause-sc"];

const ARCHIVE: &str = "target/pause.tar";

/// The image's default name. The archive's digest is for this name.
const IMAGE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// Pairs of name and sha256 in hex.
#[derive(Default)]
pub struct Digests(pub Vec<(String, String)>);

impl Digests {
    /// Reads what [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    ///
    /// The file cannot be read or parsed, has a name twice, or has no digest.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
        let mut digests = Self::default();
        let lines = text.lines().zip(1..);
        for (line, number) in lines.filter(|(line, _)| !line.starts_with('#')) {
            let parts = line.split_once("  ");
            let (digest, name) = parts
                .filter(|(digest, _)| digest.parse::<Sha256Digest>().is_ok())
                .with_context(|| format!("{file}, line {number}: not a sha256 and a name"))?;
            ensure!(digests.of(name).is_none(), "{file} has {name} twice");
            digests.0.push((name.to_owned(), digest.to_owned()));
        }
        ensure!(!digests.0.is_empty(), "{file} has no digest");
        Ok(digests)
    }

    /// The digest of a name.
    pub fn of(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(it, _)| it == name).map(|(_, digest)| &**digest)
    }

    fn add(&mut self, name: &str, content: &[u8]) {
        self.0.push((name.to_owned(), sha256(content)));
    }
}

/// The format of sha256sum, which can check the names that are files.
impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# sha256 of what `make` makes, and of the program on the crate sc. `make digests` writes this file,\n\
             # `make verify` compares with it, and so does: sha256sum --check --ignore-missing image/digests"
        )?;
        for (name, digest) in &self.0 {
            writeln!(f, "{digest}  {name}")?;
        }
        Ok(())
    }
}

/// Digests to compare with the expected ones.
#[derive(Default)]
pub struct Found {
    pub digests: Digests,
    /// What the comparison leaves out.
    pub note: Option<String>,
    /// Prefixes of names that may be missing.
    pub optional: Vec<&'static str>,
}

impl Found {
    /// Adds the programs and the archive in target/. `partly` allows for missing ones.
    ///
    /// # Errors
    ///
    /// A file cannot be read or parsed. The digests before it stay.
    pub fn add_folder(&mut self, target: &Path, partly: bool) -> Result<()> {
        self.add_programs(target)?;
        let archive = target.join("pause.tar");
        if partly {
            self.optional.push("");
            if !archive.exists() {
                return Ok(());
            }
        }
        self.add_archive(&archive, true)
    }

    /// Whether a name must not be missing.
    pub fn wants(&self, name: &str) -> bool {
        !self.optional.iter().any(|start| name.starts_with(start))
    }

    fn add_programs(&mut self, target: &Path) -> Result<()> {
        for folder in PROGRAMS {
            let Ok(entries) = fs::read_dir(target.join(folder)) else {
                continue; // The comparison names each missing program.
            };
            let paths = entries.map(|entry| Ok(entry?.path().join("pause")));
            let mut programs = paths.collect::<Result<Vec<_>>>()?;
            programs.sort();
            for path in programs.iter().filter(|path| path.exists()) {
                let name = Path::new("target").join(path.strip_prefix(target)?);
                self.digests.add(&name.to_string_lossy(), &read(path)?);
            }
        }
        Ok(())
    }

    /// Adds the blobs in an archive, and the archive itself if `make` made it.
    ///
    /// # Errors
    ///
    /// Those of [`Self::add_folder`].
    pub fn add_archive(&mut self, path: &Path, as_made: bool) -> Result<()> {
        let content = read(path)?;
        let files = Files::read(&content)?;
        let added = files.blobs(|name, content, _| {
            self.digests.add(name, content);
            Ok(())
        });
        // The name changes the archive, but no blob.
        match files.name().filter(|name| name != IMAGE) {
            _ if !as_made => (),
            None => self.digests.add(ARCHIVE, &content),
            Some(name) => {
                self.optional.push(ARCHIVE);
                self.note = Some(format!(
                    "named {name}, so not compared with {ARCHIVE}, which is named {IMAGE}"
                ));
            }
        }
        added.map(drop)
    }
}

/// A file's content.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
