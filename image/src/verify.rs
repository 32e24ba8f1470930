//! Compares builds, archives and images in registries with the expected digests.

use crate::digests::{Digests, Found};
use anyhow::{Context, Result, ensure};
use oci_spec::distribution::Reference;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

#[derive(clap::Args)]
pub struct Verify {
    /// The expected digests: image/digests
    #[arg(long, value_name = "FILE")]
    digests: PathBuf,
    /// Accept a folder with only some of the builds
    #[arg(long)]
    partly: bool,
    /// The name of the subject in messages, instead of its path
    #[arg(long, value_name = "NAME")]
    called: Option<String>,
    /// A flag for skopeo copy: --pull-flag=--src-tls-verify=false
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pull_flag: Vec<String>,
    /// What to compare: a folder of builds, an archive, or the name of an image in a registry
    #[arg(value_name = "FOLDER|ARCHIVE|NAME")]
    subject: String,
}

impl Verify {
    /// Prints what differs. Returns whether nothing does.
    ///
    /// # Errors
    ///
    /// The expected digests cannot be read, or the subject cannot be pulled.
    pub fn run(&self) -> Result<bool> {
        let expected = Digests::read(&self.digests)?;
        let found = self.find()?;
        let subject = self.called.as_ref().unwrap_or(&self.subject);
        let mut problems = Vec::new();
        for (name, digest) in &found.digests.0 {
            let expected = expected.of(name).unwrap_or("none");
            if expected != digest {
                problems.push(format!("{name} differs: {digest}, expected {expected}"));
            }
        }
        match &found.problem {
            Some(problem) => problems.push(format!("{problem:#}").replace('\n', " ")),
            None => {
                let names = expected.0.iter().map(|(name, _)| name);
                let missing =
                    names.filter(|name| found.wants(name) && found.digests.of(name).is_none());
                problems.extend(missing.map(|name| format!("{name} is missing")));
            }
        }
        for problem in &problems {
            eprintln!("pause-image: {subject}: {problem}");
        }
        if let Some(note) = &found.note {
            println!("{subject}: {note}");
        }
        if problems.is_empty() {
            let (count, file) = (found.digests.0.len(), self.digests.display());
            println!("{subject}: all {count} digests match {file}");
        }
        Ok(problems.is_empty())
    }

    fn find(&self) -> Result<Found> {
        let path = Path::new(&self.subject);
        if path.is_dir() {
            return Ok(Found::in_folder(path, self.partly));
        }
        if path.exists() {
            return Ok(Found::in_archive(path));
        }
        let folder = tempfile::tempdir()?;
        let archive = folder.path().join("pulled.tar");
        pull(&self.subject, &self.pull_flag, &archive)?;
        Ok(Found::in_pulled(&archive))
    }
}

/// Copies an image with all its platforms from a registry to an archive.
fn pull(name: &str, flags: &[String], archive: &Path) -> Result<()> {
    name.parse::<Reference>()
        .with_context(|| format!("{name:?} is neither a file nor an image name"))?;
    let output = Command::new("skopeo")
        .args(["copy", "--all", "--quiet"])
        .args(flags)
        .arg(format!("docker://{name}"))
        .arg(format!("oci-archive:{}", archive.display()))
        .output()
        .context("cannot run skopeo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().last().unwrap_or("skopeo gives no reason");
    ensure!(output.status.success(), "cannot pull {name}: {why}");
    Ok(())
}
