//! The digests of what `make` makes, by the names of what they are of.

use crate::image::Files;
use anyhow::{Context, Error, Result, bail, ensure};
use pause_image::layout::sha256;
use std::{fmt, fs, path::Path};

/// The folders below target/ with a folder for each architecture's program, by the crate that makes
/// the system calls.
const PROGRAMS: [&str; 2] = ["pause", "pause-sc"];

const ARCHIVE: &str = "target/pause.tar";

/// The name that the archive has where nobody gives it another: its digest is for that one.
const IMAGE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// Names with the sha256 of what they name, in hex.
#[derive(Default)]
pub struct Digests(pub Vec<(String, String)>);

impl Digests {
    /// Reads a file that [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has another form; a name that comes twice; no digest at all.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
        let mut digests = Self::default();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let parts = line.split_once("  ");
            let Some((digest, name)) = parts.filter(|(digest, _)| is_sha256(digest)) else {
                bail!("{file}, line {}: no sha256 and name", number + 1);
            };
            ensure!(digests.of(name).is_none(), "{file} has {name} twice");
            digests.0.push((name.to_owned(), digest.to_owned()));
        }
        ensure!(!digests.0.is_empty(), "{file} has no digest");
        Ok(digests)
    }

    /// The digest of what is called so.
    pub fn of(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(it, _)| it == name)
            .map(|(_, digest)| digest.as_str())
    }

    /// Adds the digest of some bytes.
    pub fn add(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let digest = sha256(content)?.to_string();
        self.0.push((name.to_owned(), digest));
        Ok(())
    }
}

fn is_sha256(text: &str) -> bool {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 64 && text.bytes().all(is_hex)
}

/// In the form of sha256sum, which takes the files among them.
impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# sha256 of what `make` makes, and of the program on the crate sc. `make digests` writes this file,\n\
             # `make verify` compares with it, and so does: sha256sum --check --ignore-missing trust/digests"
        )?;
        for (name, digest) in &self.0 {
            writeln!(f, "{digest}  {name}")?;
        }
        Ok(())
    }
}

/// What is to be compared with the digests.
#[derive(Default)]
pub struct Found {
    pub digests: Digests,
    /// What kept it from finding the others.
    pub problem: Option<Error>,
    /// What to know of the comparison.
    pub notes: Vec<String>,
    /// Names that need not be there.
    without: Vec<&'static str>,
    partly: bool,
}

impl Found {
    /// The programs and the archive in target/, or all of them that there are.
    pub fn in_folder(target: &Path, partly: bool) -> Self {
        let mut found = Self {
            partly,
            ..Self::default()
        };
        found.problem = found.add_folder(target).err();
        found
    }

    /// An archive that `make` is said to have made.
    pub fn in_archive(path: &Path) -> Self {
        let mut found = Self {
            without: vec!["target/pause/", "target/pause-sc/"],
            ..Self::default()
        };
        found.problem = found.add_archive(path, true).err();
        found
    }

    /// An archive made of what was pulled.
    pub fn in_pulled(path: &Path) -> Self {
        let mut found = Self {
            without: vec!["target/"],
            ..Self::default()
        };
        found.problem = found.add_archive(path, false).err();
        found
    }

    /// Whether it cannot do without.
    pub fn wants(&self, name: &str) -> bool {
        !self.partly && !self.without.iter().any(|start| name.starts_with(start))
    }

    fn add_folder(&mut self, target: &Path) -> Result<()> {
        for folder in PROGRAMS {
            let Ok(entries) = fs::read_dir(target.join(folder)) else {
                continue; // Each of its programs is missing then.
            };
            let mut programs = Vec::new();
            for entry in entries {
                programs.push(entry?.path().join("pause"));
            }
            programs.sort();
            for path in programs.iter().filter(|path| path.exists()) {
                let content =
                    fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                let name = Path::new("target").join(path.strip_prefix(target)?);
                self.digests.add(&name.to_string_lossy(), &content)?;
            }
        }
        let archive = target.join("pause.tar");
        if self.partly && !archive.exists() {
            return Ok(());
        }
        self.add_archive(&archive, true)
    }

    fn add_archive(&mut self, path: &Path, as_made: bool) -> Result<()> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let files = Files::read(&content)?;
        let added = files.add_digests(&mut self.digests);
        let name = files.name();
        if as_made {
            // Its name is in the archive, and in no blob.
            match &name {
                Some(name) if name != IMAGE => {
                    self.without.push(ARCHIVE);
                    self.notes.push(format!(
                        "named {name}: so {ARCHIVE}, which is named {IMAGE}, is not compared"
                    ));
                }
                _ => self.digests.add(ARCHIVE, &content)?,
            }
        }
        added
    }
}
