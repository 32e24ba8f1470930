//! k3s and RKE2: the option pause-image in config.yaml.d, and the archive in agent/images, which they
//! import and pin themselves (docs.k3s.io, "Import images", "Configuration options"; docs.rke2.io).

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run},
    drop_in::DropIn,
    file::{self, Edit},
    process::{self, wait_for},
    service::Service,
};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The socket of both's containerd.
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

    fn drop_in(&self) -> DropIn {
        DropIn {
            runtime: self.name,
            main: self.folder().join("config.yaml"),
            file: self.folder().join("config.yaml.d/99-use-pause.yaml"),
            endings: &[".yaml", ".yml"],
            key: "pause-image",
            get: |text, key| Ok(option(text, key)),
            set: |_, image| Ok(format!("pause-image: \"{image}\"\n")),
        }
    }

    /// Where the archive goes.
    fn archive(&self) -> Result<PathBuf> {
        let folder = match self.drop_in().get("data-dir")? {
            Some((_, folder)) => folder.into(),
            None => Path::new("/var/lib/rancher").join(self.name),
        };
        Ok(folder.join("agent/images/use-pause.tar"))
    }
}

/// An option in a file of YAML, which has one per line.
fn option(text: &str, name: &str) -> Option<String> {
    let unquoted = |text: &str| text.trim_matches(['"', '\'']).to_owned();
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        let value = value.split(" #").next()?.trim();
        (unquoted(key) == name).then(|| unquoted(value))
    });
    values.next_back()
}

/// Whether the file is that archive.
fn is_archive(file: &Path, archive: &Archive) -> bool {
    fs::read(file).is_ok_and(|content| content == *archive.bytes)
}

impl Runtime for K3s {
    fn title(&self) -> String {
        let version = find(self.name).and_then(|it| run(command(&it).arg("--version"), &[]).ok());
        let version = version.and_then(|said| said.lines().next().map(str::to_owned));
        let title = version.unwrap_or_else(|| self.name.to_owned());
        format!("{title}, {}", self.drop_in().file.display())
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        self.drop_in().plan(image)
    }

    fn plan_undo(&self) -> Result<Option<Edit>> {
        self.drop_in().plan_undo()
    }

    fn import(&self, name: &str, archive: Option<&Archive>) -> Result<Vec<String>> {
        let runtime = self.name;
        let archive = archive.with_context(|| {
            format!("{runtime} imports images from archives, and this one has no {name}: give one that has by --archive")
        })?;
        let file = self.archive()?;
        let shown = file.display();
        if is_archive(&file, archive) {
            return Ok(vec![format!("{name}: archive already at {shown}")]);
        }
        file::write(&file, &archive.bytes).with_context(|| format!("cannot write {shown}"))?;
        Ok(vec![format!(
            "{name}: archive put at {shown}; {runtime} imports and pins it (before 1.32 only as it starts)"
        )])
    }

    fn has_read(&self) -> bool {
        let file = self.drop_in().file;
        !file.exists() || process::has_started_since(Path::new(SOCKET), &file)
    }

    fn service(&self) -> Service {
        let running = process::listener(Path::new(SOCKET)).ok().flatten();
        let otherwise = match self.name {
            "k3s" => "k3s (on agents k3s-agent)",
            _ => "rke2-server (on agents rke2-agent)",
        };
        Service::of(running, otherwise)
    }

    fn wait_until_it_serves(&self) -> Result<()> {
        wait_for(PATIENCE, || process::listener(Path::new(SOCKET)))
            .map(drop)
            .with_context(|| format!("{} does not answer on {SOCKET}", self.name))
    }

    fn status(&self, archive: Option<&Archive>) -> Result<Vec<(&'static str, String)>> {
        let file = self.archive()?;
        let has = if archive.is_some_and(|archive| is_archive(&file, archive)) {
            "has"
        } else {
            "does not have"
        };
        Ok(vec![
            ("runtime", self.title()),
            ("sandbox image", self.drop_in().shown()?),
            ("image", format!("{} {has} this archive", file.display())),
            (
                "sandboxes",
                format!("see {} ctr --namespace k8s.io containers list", self.name),
            ),
        ])
    }
}
