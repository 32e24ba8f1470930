//! k3s and RKE2: the option pause-image by a file in config.yaml.d, and the archive in agent/images,
//! from where they import and pin it themselves (docs.k3s.io, "Import images", "Configuration
//! options"; docs.rke2.io).

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run},
    file::{self, Change, Edit},
    process,
    service::Service,
};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

/// Both have their containerd listen there.
const SOCKET: &str = "/run/k3s/containerd/containerd.sock";
const PATIENCE: Duration = Duration::from_secs(120);

/// k3s or RKE2.
pub struct K3s {
    /// As its folders are called: k3s or rke2.
    name: &'static str,
}

impl K3s {
    /// k3s.
    pub const K3S: Self = Self { name: "k3s" };
    /// RKE2.
    pub const RKE2: Self = Self { name: "rke2" };

    /// Whether the node has it.
    pub fn is_here(&self) -> bool {
        find(self.name).is_some() || self.folder().is_dir()
    }

    fn folder(&self) -> PathBuf {
        Path::new("/etc/rancher").join(self.name)
    }

    fn file(&self) -> PathBuf {
        self.folder().join("config.yaml.d/99-use-pause.yaml")
    }

    /// An option of the configuration, from the file that is read last.
    fn option(&self, name: &str) -> Result<Option<(PathBuf, String)>> {
        let folder = self.folder();
        let mut files = file::in_order(folder.join("config.yaml"), &folder.join("config.yaml.d"));
        let is_yaml = |path: &PathBuf| {
            path.extension()
                .is_some_and(|it| it == "yaml" || it == "yml")
        };
        files.retain(is_yaml);
        let mut found = None;
        for path in files {
            let text = file::read(&path)?.unwrap_or_default();
            let mut values = text.lines().filter_map(|line| {
                let (key, value) = line.split_once(':')?;
                let value = value.split(" #").next()?.trim();
                (key.trim_matches(['"', '\'']) == name)
                    .then(|| value.trim_matches(['"', '\'']).to_owned())
            });
            found = values.next_back().map(|value| (path, value)).or(found);
        }
        Ok(found)
    }

    /// Where the archive goes.
    fn archive(&self) -> Result<PathBuf> {
        let folder = match self.option("data-dir")? {
            Some((_, folder)) => folder.into(),
            None => Path::new("/var/lib/rancher").join(self.name),
        };
        Ok(folder.join("agent/images/use-pause.tar"))
    }
}

impl Runtime for K3s {
    fn title(&self) -> String {
        let version = find(self.name).and_then(|it| run(command(&it).arg("--version"), &[]).ok());
        let version = version.and_then(|said| said.lines().next().map(str::to_owned));
        let title = version.unwrap_or_else(|| self.name.to_owned());
        format!("{title}, {}", self.file().display())
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        let file = self.file();
        match self.option("pause-image")? {
            Some((_, named)) if named == image => return Ok(None),
            Some((path, _)) if path > file && path.parent() == file.parent() => bail!(
                "{} sets pause-image, and {} reads it after {}: change it there, or rename it",
                path.display(),
                self.name,
                file.display()
            ),
            _ => {}
        }
        let change = Change::Write {
            old: file::read(&file)?,
            new: format!("pause-image: \"{image}\"\n"),
        };
        Ok(Some(Edit::of(file, change)))
    }

    fn plan_undo(&self) -> Result<Option<Edit>> {
        Edit::remove(self.file())
    }

    fn import(&self, name: &str, archive: Option<&Archive>) -> Result<Vec<String>> {
        let archive = archive.filter(|archive| archive.name == name);
        let archive = archive.with_context(|| {
            format!("the archive does not have {name}, and {} imports from archives: give its own with --archive", self.name)
        })?;
        let file = self.archive()?;
        let shown = file.display();
        if fs::read(&file).is_ok_and(|there| there == *archive.bytes) {
            return Ok(vec![format!("{name}: its archive is in {shown} already")]);
        }
        file::put(&file, &archive.bytes)?;
        Ok(vec![format!(
            "{name}: its archive is in {shown}, which {} imports and pins (before 1.32 as it starts)",
            self.name
        )])
    }

    fn has_read(&self) -> bool {
        let file = self.file();
        !file.exists() || process::has_started_since(Path::new(SOCKET), &file) == Some(true)
    }

    fn service(&self) -> Service {
        let running = process::listener(Path::new(SOCKET)).ok().flatten();
        Service {
            name: running.and_then(process::service).unwrap_or_else(|| {
                match self.name {
                    "k3s" => "k3s (on agents k3s-agent)",
                    _ => "rke2-server (on agents rke2-agent)",
                }
                .to_owned()
            }),
        }
    }

    fn wait_until_it_serves(&self) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = process::listener(Path::new(SOCKET)) {
            if start.elapsed() > PATIENCE {
                bail!("{} does not answer on {SOCKET}: {error}", self.name);
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn status(&self, archive: Option<&Archive>) -> Result<Vec<(String, String)>> {
        let named = self.option("pause-image")?;
        let file = self.archive()?;
        let there = archive
            .is_some_and(|archive| fs::read(&file).is_ok_and(|there| there == *archive.bytes));
        Ok(vec![
            ("runtime".to_owned(), self.title()),
            (
                "sandbox image".to_owned(),
                match named {
                    Some((path, image)) => format!("{image}, by {}", path.display()),
                    None => format!("{}'s own", self.name),
                },
            ),
            (
                "image".to_owned(),
                format!(
                    "{} {}",
                    file.display(),
                    if there {
                        "has this archive"
                    } else {
                        "does not have this archive"
                    }
                ),
            ),
            (
                "sandboxes".to_owned(),
                format!("ask: {} ctr --namespace k8s.io containers list", self.name),
            ),
        ])
    }
}
