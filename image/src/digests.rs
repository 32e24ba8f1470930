//! The digests of what `make` makes, by the names of what they are of.

use anyhow::{Context, Error, Result, ensure};
use oci_spec::image::Sha256Digest;
use pause_image::{layout::sha256, read::Files};
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
        let lines = text.lines().zip(1..);
        for (line, number) in lines.filter(|(line, _)| !line.starts_with('#')) {
            let parts = line.split_once("  ");
            let (digest, name) = parts
                .filter(|(digest, _)| digest.parse::<Sha256Digest>().is_ok())
                .with_context(|| format!("{file}, line {number}: no sha256 and name"))?;
            ensure!(digests.of(name).is_none(), "{file} has {name} twice");
            digests.0.push((name.to_owned(), digest.to_owned()));
        }
        ensure!(!digests.0.is_empty(), "{file} has no digest");
        Ok(digests)
    }

    /// The digest of what is called so.
    pub fn of(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(it, _)| it == name).map(|(_, digest)| &**digest)
    }

    fn add(&mut self, name: String, content: &[u8]) {
        self.0.push((name, sha256(content)));
    }
}

/// In the form of sha256sum, which takes the files among them.
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

/// What is to be compared with the digests.
#[derive(Default)]
pub struct Found {
    pub digests: Digests,
    /// What kept it from finding the others.
    pub problem: Option<Error>,
    /// What to know of the comparison.
    pub note: Option<String>,
    /// Names that need not be there begin so.
    without: Vec<&'static str>,
}

impl Found {
    /// The programs and the archive in target/, or all of them that there are.
    pub fn in_folder(target: &Path, partly: bool) -> Self {
        let without = if partly { vec![""] } else { vec![] };
        Self::of(without, |found| {
            found.add_programs(target)?;
            let archive = target.join("pause.tar");
            if partly && !archive.exists() {
                return Ok(());
            }
            found.add_archive(&archive, true)
        })
    }

    /// An archive that `make` is said to have made.
    pub fn in_archive(path: &Path) -> Self {
        let without = vec!["target/pause/", "target/pause-sc/"];
        Self::of(without, |found| found.add_archive(path, true))
    }

    /// An archive made of what was pulled.
    pub fn in_pulled(path: &Path) -> Self {
        Self::of(vec!["target/"], |found| found.add_archive(path, false))
    }

    fn of(without: Vec<&'static str>, find: impl FnOnce(&mut Self) -> Result<()>) -> Self {
        let mut found = Self {
            without,
            ..Self::default()
        };
        found.problem = find(&mut found).err();
        found
    }

    /// Whether it cannot do without.
    pub fn wants(&self, name: &str) -> bool {
        !self.without.iter().any(|start| name.starts_with(start))
    }

    fn add_programs(&mut self, target: &Path) -> Result<()> {
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
                let name = Path::new("target").join(path.strip_prefix(target)?);
                self.digests.add(name.display().to_string(), &read(path)?);
            }
        }
        Ok(())
    }

    fn add_archive(&mut self, path: &Path, as_made: bool) -> Result<()> {
        let content = read(path)?;
        let files = Files::read(&content)?;
        let added = files.blobs(|name, content| self.digests.add(name, content));
        // Its name is in the archive, and in no blob.
        match files.name().filter(|name| name != IMAGE) {
            _ if !as_made => (),
            None => self.digests.add(ARCHIVE.to_owned(), &content),
            Some(name) => {
                self.without.push(ARCHIVE);
                self.note = Some(format!(
                    "named {name}: so {ARCHIVE}, which is named {IMAGE}, is not compared"
                ));
            }
        }
        added
    }
}

/// A file's content.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
