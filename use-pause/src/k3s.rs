//! k3s and RKE2: the option pause-image in config.yaml.d, and the archive in agent/images, which they
//! import and pin themselves (docs.k3s.io, "Import images", "Configuration options"; docs.rke2.io).

use crate::{
    Runtime,
    archive::Archive,
    command::{find, version},
    drop_in::DropIn,
    file::{self, Edit},
    process,
    service::Service,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The socket of both's containerd.
const SOCKET: &str = "/run/k3s/containerd/containerd.sock";

/// k3s or RKE2.
pub struct K3s {
    /// As its directories are called: k3s or rke2.
    name: &'static str,
}

impl K3s {
    /// k3s.
    pub const K3S: Self = Self { name: "k3s" };
    /// RKE2.
    pub const RKE2: Self = Self { name: "rke2" };

    /// Whether the node has it.
    pub fn is_here(&self) -> bool {
        find(self.name).is_some() || self.directory().is_dir()
    }

    fn directory(&self) -> PathBuf {
        Path::new("/etc/rancher").join(self.name)
    }

    fn drop_in(&self) -> DropIn {
        DropIn {
            runtime: self.name,
            main: self.directory().join("config.yaml"),
            file: self.directory().join("config.yaml.d/99-use-pause.yaml"),
            endings: &[".yaml", ".yml"],
            key: "pause-image",
            value: |text, key| Ok(option(text, key)),
        }
    }

    /// The directory of its agent.
    fn agent(&self) -> Result<PathBuf> {
        let directory = match self.drop_in().get("data-dir")? {
            Some((_, directory)) => directory.into(),
            None => Path::new("/var/lib/rancher").join(self.name),
        };
        Ok(directory.join("agent"))
    }

    /// Where the archive goes.
    fn archive(&self) -> Result<PathBuf> {
        Ok(self.agent()?.join("images/use-pause.tar"))
    }

    /// Fails if something else decides on the sandbox image.
    fn ensure_it_decides(&self) -> Result<()> {
        let name = self.name;
        if let Some((file, registry)) = self.drop_in().get("system-default-registry")? {
            bail!(
                "{} sets system-default-registry, so {name} would look for the image in {registry}: push it there, \
                 and set pause-image by hand",
                file.display()
            );
        }
        let docker = self.drop_in().get("docker")?;
        if let Some((file, _)) = docker.filter(|it| it.1 == "true") {
            bail!(
                "{} sets docker, so {name} starts no containerd",
                file.display()
            );
        }
        for template in ["config.toml.tmpl", "config-v3.toml.tmpl"] {
            let file = self.agent()?.join("etc/containerd").join(template);
            let text = file::read(&file)?.unwrap_or_default();
            let mut lines = text.lines().map(str::trim);
            let names = |line: &str| {
                let key = line.split('=').next().unwrap_or_default().trim();
                ["sandbox", "sandbox_image"].contains(&key) && !line.contains("{{")
            };
            let found = lines.find(|line| names(line));
            ensure!(
                found.is_none(),
                "{} names the sandbox image itself: {}",
                file.display(),
                found.unwrap_or_default()
            );
        }
        Ok(())
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

impl Runtime for K3s {
    fn title(&self) -> String {
        let version = find(self.name).and_then(|it| version(&it).ok());
        let title = format!("{} {}", self.name, version.unwrap_or_default());
        format!("{}, {}", title.trim_end(), self.drop_in().file.display())
    }

    fn socket(&self) -> &Path {
        Path::new(SOCKET)
    }

    /// Both parse names by a rule in which a registry has a dot or a port: they would look for `localhost/…`
    /// on docker.io, where somebody may own it. Nobody can own a domain below `.localhost` (RFC 6761).
    fn name_for(&self, name: &str) -> String {
        match name.strip_prefix("localhost/") {
            Some(rest) => format!("pause.localhost/{rest}"),
            None => name.to_owned(),
        }
    }

    fn configured(&self) -> Result<Option<String>> {
        self.drop_in().image()
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        let registry = image.split('/').next().unwrap_or_default();
        ensure!(
            registry.contains(['.', ':']),
            "{} takes {image} for an image of docker.io, as its first part has no dot and no port",
            self.name
        );
        self.ensure_it_decides()?;
        let text = format!("pause-image: \"{image}\"\n");
        self.drop_in().plan(image, text, true)
    }

    fn plan_undo(&self, _is_ours: &dyn Fn(&str) -> bool) -> Result<Option<Edit>> {
        self.drop_in().plan_undo()
    }

    fn has(&self, archive: &Archive) -> Result<bool> {
        Ok(fs::read(self.archive()?).is_ok_and(|it| it == *archive.bytes))
    }

    fn import(&self, archive: &Archive) -> Result<()> {
        let file = self.archive()?;
        file::write(&file, &archive.bytes)
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn import_lines(&self, _archive: &Archive, _file: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn has_read(&self) -> bool {
        let file = self.drop_in().file;
        !file.exists() || process::has_started_since(Path::new(SOCKET), &file)
    }

    fn service(&self) -> Service {
        let running = process::listener(Path::new(SOCKET)).ok().flatten();
        // An agent has run here, and no server.
        let agent = self.agent().unwrap_or_default();
        let is_agent = agent.join("etc").is_dir() && !agent.with_file_name("server").is_dir();
        let otherwise = match (self.name, is_agent) {
            ("k3s", false) => "k3s",
            ("k3s", true) => "k3s-agent",
            (_, false) => "rke2-server",
            (_, true) => "rke2-agent",
        };
        Service::of(running, otherwise)
    }
}
