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
    /// The expected digests cannot be read.
    pub fn run(&self) -> Result<bool> {
        let expected = Digests::read(&self.digests)?;
        let mut found = Found::default();
        let problem = self.find(&mut found).err();
        let subject = self.called.as_ref().unwrap_or(&self.subject);
        let mut problems = Vec::new();
        for (name, digest) in &found.digests.0 {
            let expected = expected.of(name).unwrap_or("none");
            if expected != digest {
                problems.push(format!("{name} differs: {digest}, expected {expected}"));
            }
        }
        match problem {
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

    /// Adds the digests of the subject.
    fn find(&self, found: &mut Found) -> Result<()> {
        let path = Path::new(&self.subject);
        if path.is_dir() {
            return found.add_folder(path, self.partly);
        }
        if path.exists() {
            found.optional = vec!["target/pause/", "target/pause-sc/"];
            return found.add_archive(path, true);
        }
        let folder = tempfile::tempdir()?;
        let archive = folder.path().join("pulled.tar");
        self.pull(&archive)?;
        found.optional = vec!["target/"];
        found.add_archive(&archive, false)
    }

    /// Copies the subject with all its platforms from a registry to an archive.
    fn pull(&self, archive: &Path) -> Result<()> {
        let name = self.subject.parse::<Reference>();
        name.context("neither a file nor an image name")?;
        let output = Command::new("skopeo")
            .args(["copy", "--all", "--quiet"])
            .args(&self.pull_flag)
            .arg(format!("docker://{}", self.subject))
            .arg(format!("oci-archive:{}", archive.display()))
            .output()
            .context("cannot run skopeo")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().last().unwrap_or("skopeo gives no reason");
        ensure!(output.status.success(), "cannot pull: {why}");
        Ok(())
    }
}
