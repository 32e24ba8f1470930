//! CRI-O: a file in crio.conf.d (crio.conf.d(5)), and its store by podman or skopeo.

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run, version},
    cri::Client,
    drop_in::DropIn,
    edit,
    file::Edit,
    image, process,
    service::Service,
};
use anyhow::{Context, Result};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

const SOCKET: &str = "/run/crio/crio.sock";

/// CRI-O, running or not.
pub struct Crio {
    executable: PathBuf,
    version: String,
    /// The image that the configuration named last.
    named: RefCell<Option<String>>,
}

/// The value of a key of any of CRI-O's tables.
fn value(text: &str, key: &str) -> Result<Option<String>> {
    let content = edit::content(text)?;
    let tables = content["crio"].as_object().into_iter().flatten();
    let value = tables.filter_map(|(_, table)| table.get(key)).next_back();
    Ok(value.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)))
}

/// The files of the configuration.
fn drop_in() -> DropIn {
    DropIn {
        runtime: "CRI-O",
        main: "/etc/crio/crio.conf".into(),
        file: "/etc/crio/crio.conf.d/99-use-pause.conf".into(),
        endings: &[""],
        key: "pause_image",
        value,
    }
}

impl Crio {
    pub fn find() -> Result<Self> {
        let executable = find("crio").context("cannot find crio")?;
        Ok(Self {
            version: version(&executable)?,
            executable,
            named: drop_in().image()?.into(),
        })
    }

    /// Podman's or skopeo's command line that loads an archive into CRI-O's store.
    fn load(name: &str, file: &str) -> Result<String> {
        if let Some(podman) = find("podman") {
            return Ok(format!("{} load --quiet --input {file}", podman.display()));
        }
        let copy = format!("copy --quiet oci-archive:{file} containers-storage:{name}");
        let skopeo = find("skopeo").with_context(|| {
            format!("cannot load {name} into CRI-O's store without podman or skopeo: install one, then run this again")
        })?;
        Ok(format!("{} {copy}", skopeo.display()))
    }
}

impl Runtime for Crio {
    fn title(&self) -> String {
        format!("CRI-O {}, {}", self.version, drop_in().file.display())
    }

    fn socket(&self) -> &Path {
        Path::new(SOCKET)
    }

    fn configured(&self) -> Result<Option<String>> {
        drop_in().image()
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        let command = drop_in().get("pause_command")?;
        let has_ours = command.is_none_or(|(_, it)| it == "/pause" || it.is_empty());
        let text = format!("[crio.image]\npause_image = \"{image}\"\npause_command = \"/pause\"\n");
        drop_in().plan(image, text, has_ours)
    }

    fn plan_undo(&self, _is_ours: &dyn Fn(&str) -> bool) -> Result<Option<Edit>> {
        drop_in().plan_undo()
    }

    fn import(&self, archive: &Archive) -> Result<()> {
        // A file in memory, which both can seek in.
        let line = Self::load(&archive.name, "/proc/self/fd/0")?;
        let (program, arguments) = line.split_once(' ').unwrap_or((&line, ""));
        run(
            command(Path::new(program)).args(arguments.split(' ')),
            &archive.bytes,
        )?;
        image::expect_stored(&Client::of(self.socket()), archive)
    }

    fn import_lines(&self, archive: &Archive, file: &str) -> Result<Vec<String>> {
        let load = Self::load(&archive.name, file)?;
        Ok(vec![format!("ExecStartPre=-{load}")])
    }

    fn has_read(&self) -> bool {
        let configured = self.configured().ok().flatten();
        // Without an image it reads its default, whatever that is.
        let former = self.named.borrow().clone();
        if configured.is_none() && former.is_none() {
            return true;
        }
        let config = run(command(&self.executable).args(["status", "config"]), &[]);
        let read = config.and_then(|config| value(&config, "pause_image"));
        let is_new = |read| {
            if configured.is_some() {
                self.named.replace(configured.clone());
                read == configured
            } else {
                read != former
            }
        };
        read.is_ok_and(is_new)
    }

    fn service(&self) -> Service {
        Service("crio".to_owned())
    }

    fn verb(&self) -> &'static str {
        "reload"
    }

    fn overrides(&self) -> Vec<String> {
        let pid = process::named("crio");
        let options = ["--pause-image", "--pause-command"].into_iter();
        let set = options.filter_map(|option| {
            let value = process::option(pid?, option, option)?;
            Some(format!(
                "crio runs with {option} {value}, which wins over crio.conf.d: change its unit"
            ))
        });
        set.collect()
    }

    fn note(&self) -> Option<&'static str> {
        let drops = drop_in().get("drop_infra_ctr");
        let drops = drops.is_ok_and(|it| it.is_none_or(|(_, value)| value != "false"));
        drops.then_some(
            "CRI-O runs no pause in pods with a PID namespace per container (drop_infra_ctr)",
        )
    }
}
