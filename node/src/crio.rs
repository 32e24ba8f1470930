//! CRI-O, by a file in crio.conf.d (crio.conf.d(5)), and its store by podman or skopeo.

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run},
    edit,
    file::{self, Change, Edit},
    process,
    service::Service,
};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

const FOLDER: &str = "/etc/crio/crio.conf.d";
const FILE: &str = "/etc/crio/crio.conf.d/99-use-pause.conf";
const SOCKET: &str = "/run/crio/crio.sock";
const KEY: &edit::Path = &["crio", "image", "pause_image"];

/// CRI-O, running or not.
pub struct Crio {
    executable: PathBuf,
    version: String,
}

impl Crio {
    /// # Errors
    ///
    /// There is none.
    pub fn find() -> Result<Self> {
        let executable = find("crio").context("there is no command crio")?;
        let said = run(command(&executable).arg("--version"), &[])?;
        let version = said
            .split_whitespace()
            .nth(2)
            .unwrap_or_default()
            .to_owned();
        Ok(Self {
            executable,
            version,
        })
    }

    /// The image that the configuration names: CRI-O reads crio.conf, and then the folder by name.
    fn named(&self) -> Result<Option<(PathBuf, String)>> {
        let mut found = None;
        for path in file::in_order("/etc/crio/crio.conf".into(), Path::new(FOLDER)) {
            let text = file::read(&path)?.unwrap_or_default();
            let image = edit::get(&text, KEY).with_context(|| format!("{}", path.display()))?;
            found = image.map(|image| (path, image)).or(found);
        }
        Ok(found)
    }

    /// Whether the store has an image of that name, by podman or else skopeo.
    fn has(&self, image: &str) -> bool {
        let mut ask = match (find("podman"), find("skopeo")) {
            (Some(podman), _) => {
                let mut podman = command(&podman);
                podman.args(["image", "exists", image]);
                podman
            }
            (None, Some(skopeo)) => {
                let mut skopeo = command(&skopeo);
                skopeo
                    .arg("inspect")
                    .arg(format!("containers-storage:{image}"));
                skopeo
            }
            (None, None) => return false,
        };
        run(&mut ask, &[]).is_ok()
    }
}

impl Runtime for Crio {
    fn title(&self) -> String {
        format!("CRI-O {}, {FILE}", self.version)
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        let named = self.named()?;
        if named.as_ref().is_some_and(|(_, named)| named == image) {
            return Ok(None);
        }
        if let Some((path, _)) = named.filter(|(path, _)| path > Path::new(FILE)) {
            bail!(
                "{} sets pause_image, and CRI-O reads it after {FILE}: change it there, or rename it",
                path.display()
            );
        }
        let old = file::read(Path::new(FILE))?;
        let new = edit::set(old.as_deref().unwrap_or_default(), KEY, image)?;
        let new = new.trim_start().to_owned();
        Ok(Some(Edit::of(FILE.into(), Change::Write { old, new })))
    }

    fn plan_undo(&self) -> Result<Option<Edit>> {
        Edit::remove(FILE.into())
    }

    fn import(&self, name: &str, archive: Option<&Archive>) -> Result<Vec<String>> {
        if self.has(name) {
            return Ok(vec![format!("{name}: in the store already")]);
        }
        let archive = archive.filter(|archive| archive.name == name);
        let archive = archive.with_context(|| {
            format!(
                "CRI-O has no image {name}, nor has the archive: load it first, or name another"
            )
        })?;
        // A file in memory, which can be read from any place.
        let path = "/proc/self/fd/0";
        if let Some(podman) = find("podman") {
            let mut podman = command(&podman);
            podman.args(["load", "--quiet", "--input", path]);
            run(&mut podman, &archive.bytes)?;
        } else if let Some(skopeo) = find("skopeo") {
            let mut skopeo = command(&skopeo);
            skopeo.args(["copy", "--quiet", &format!("oci-archive:{path}")]);
            skopeo.arg(format!("containers-storage:{name}"));
            run(&mut skopeo, &archive.bytes)?;
        } else {
            bail!(
                "neither podman nor skopeo is here, which put an image into CRI-O's store: where one is, skopeo copy oci-archive:pause.tar containers-storage:{name}"
            );
        }
        ensure!(self.has(name), "loaded, but the store has no {name}");
        Ok(vec![format!(
            "{name}: loaded; CRI-O pins the image that it is configured with"
        )])
    }

    fn has_read(&self) -> bool {
        let Ok(named) = self.named() else {
            return false;
        };
        let config = run(command(&self.executable).args(["status", "config"]), &[]);
        match (config, named) {
            (Ok(config), Some((_, image))) => {
                edit::get(&config, KEY).is_ok_and(|it| it.as_deref() == Some(&*image))
            }
            _ => false,
        }
    }

    fn service(&self) -> Service {
        Service {
            name: "crio".to_owned(),
        }
    }

    fn verb(&self) -> &'static str {
        "reload"
    }

    fn wait_until_it_serves(&self) -> Result<()> {
        process::listener(Path::new(SOCKET))
            .map(drop)
            .with_context(|| format!("CRI-O does not answer on {SOCKET}"))
    }

    fn status(&self, _archive: Option<&Archive>) -> Result<Vec<(String, String)>> {
        let named = self.named()?;
        let mut lines = vec![("runtime".to_owned(), format!("CRI-O {}", self.version))];
        lines.push(match &named {
            Some((path, image)) => (
                "sandbox image".to_owned(),
                format!("{image}, by {}", path.display()),
            ),
            None => ("sandbox image".to_owned(), "CRI-O's own".to_owned()),
        });
        if let Some((_, image)) = named {
            let there = if self.has(&image) {
                "there"
            } else {
                "not there"
            };
            lines.push(("image".to_owned(), there.to_owned()));
        }
        Ok(lines)
    }
}
