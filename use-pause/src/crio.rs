//! CRI-O: a file in crio.conf.d (crio.conf.d(5)), and its store by podman or skopeo.

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run, version},
    drop_in::DropIn,
    edit,
    file::Edit,
    process,
    service::Service,
};
use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const SOCKET: &str = "/run/crio/crio.sock";
const KEY: &edit::Path = &["crio", "image", "pause_image"];

/// CRI-O, running or not.
pub struct Crio {
    executable: PathBuf,
    version: String,
    drop_in: DropIn,
}

impl Crio {
    pub fn find() -> Result<Self> {
        let executable = find("crio").context("cannot find crio")?;
        Ok(Self {
            version: version(&executable)?,
            executable,
            drop_in: DropIn {
                runtime: "CRI-O",
                main: "/etc/crio/crio.conf".into(),
                file: "/etc/crio/crio.conf.d/99-use-pause.conf".into(),
                endings: &[""],
                key: "pause_image",
                get: |text, _| edit::get(text, KEY),
                set: |old, image| Ok(edit::set(old, KEY, image)?.trim_start().to_owned()),
            },
        })
    }

    fn has(&self, image: &str) -> bool {
        let stored = format!("containers-storage:{image}");
        let ask = in_store(&["image", "exists", image], &["inspect", &stored]);
        ask.is_some_and(|mut ask| run(&mut ask, &[]).is_ok())
    }
}

/// A command on CRI-O's store: podman with some arguments, or else skopeo with others.
fn in_store(podman: &[&str], skopeo: &[&str]) -> Option<Command> {
    let podman = find("podman").map(|it| (it, podman));
    let (program, arguments) = podman.or_else(|| Some((find("skopeo")?, skopeo)))?;
    let mut command = command(&program);
    command.args(arguments);
    Some(command)
}

impl Runtime for Crio {
    fn title(&self) -> String {
        let file = self.drop_in.file.display();
        format!("CRI-O {}, {file}", self.version)
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        self.drop_in.plan(image)
    }

    fn plan_undo(&self) -> Result<Option<Edit>> {
        self.drop_in.plan_undo()
    }

    fn import(&self, name: &str, archive: Option<&Archive>) -> Result<Vec<String>> {
        if self.has(name) {
            return Ok(vec![format!("{name}: already in the store")]);
        }
        let archive = archive.with_context(|| {
            format!(
                "neither CRI-O nor the archive has the image {name}: load it first, or name another"
            )
        })?;
        // Standard input is a file in memory, which both can seek in.
        let stored = format!("containers-storage:{name}");
        let mut load = in_store(
            &["load", "--quiet", "--input", "/proc/self/fd/0"],
            &["copy", "--quiet", "oci-archive:/proc/self/fd/0", &stored],
        )
        .with_context(|| {
            format!("cannot load {name} into CRI-O's store without podman or skopeo: install one, then run this again, or run `skopeo copy oci-archive:pause.tar {stored}`")
        })?;
        run(&mut load, &archive.bytes)?;
        ensure!(self.has(name), "loaded, but the store has no {name}");
        Ok(vec![format!(
            "{name}: loaded; CRI-O pins the sandbox image that it is configured with"
        )])
    }

    fn has_read(&self) -> bool {
        let Ok(Some((_, image))) = self.drop_in.get(self.drop_in.key) else {
            return false;
        };
        run(command(&self.executable).args(["status", "config"]), &[])
            .and_then(|config| edit::get(&config, KEY))
            .is_ok_and(|read| read == Some(image))
    }

    fn service(&self) -> Service {
        Service("crio".to_owned())
    }

    fn verb(&self) -> &'static str {
        "reload"
    }

    fn wait_until_it_serves(&self) -> Result<()> {
        process::listener(Path::new(SOCKET))
            .map(drop)
            .with_context(|| format!("CRI-O does not answer on {SOCKET}"))
    }

    fn status(&self, _archive: Option<&Archive>) -> Result<Vec<(&'static str, String)>> {
        let mut lines = vec![
            ("runtime", format!("CRI-O {}", self.version)),
            ("sandbox image", self.drop_in.shown()?),
        ];
        if let Some((_, image)) = self.drop_in.get(self.drop_in.key)? {
            let state = if self.has(&image) {
                "present"
            } else {
                "missing"
            };
            lines.push(("image", state.to_owned()));
        }
        Ok(lines)
    }
}
