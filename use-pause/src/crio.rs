//! CRI-O: a file in crio.conf.d (crio.conf.d(5)), and its store by podman or skopeo.

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run, version},
    cri::{Client, VersionRequest},
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
const IMAGE: &edit::Path = &["crio", "image", "pause_image"];
const COMMAND: &edit::Path = &["crio", "image", "pause_command"];

/// CRI-O, running or not.
pub struct Crio {
    executable: PathBuf,
    version: String,
    /// The image that the configuration named last.
    named: RefCell<Option<String>>,
}

/// The file that names the image.
fn drop_in(get: fn(&str, &str) -> Result<Option<String>>) -> DropIn {
    DropIn {
        runtime: "CRI-O",
        main: "/etc/crio/crio.conf".into(),
        file: "/etc/crio/crio.conf.d/99-use-pause.conf".into(),
        endings: &[""],
        key: "pause_image",
        get,
        set: |old, image| Ok(edit::set(old, IMAGE, image)?.trim_start().to_owned()),
    }
}

impl Crio {
    pub fn find() -> Result<Self> {
        let executable = find("crio").context("cannot find crio")?;
        Ok(Self {
            version: version(&executable)?,
            executable,
            named: drop_in(|text, _| edit::get(text, IMAGE)).image()?.into(),
        })
    }

    fn drop_in(&self) -> DropIn {
        drop_in(|text, _| edit::get(text, IMAGE))
    }

    /// Whether its configuration makes it run a command that our image lacks.
    fn has_other_command(&self) -> Result<bool> {
        let set = drop_in(|text, _| edit::get(text, COMMAND)).image()?;
        Ok(set.is_some_and(|it| it != "/pause" && !it.is_empty()))
    }

    /// Podman's or skopeo's command that loads an archive into CRI-O's store.
    fn load(name: &str, file: &str) -> Result<Vec<String>> {
        let stored = format!("containers-storage:{name}");
        let words = if let Some(podman) = find("podman") {
            vec![
                podman.display().to_string(),
                "load".to_owned(),
                "--quiet".to_owned(),
                "--input".to_owned(),
                file.to_owned(),
            ]
        } else {
            let skopeo = find("skopeo").with_context(|| {
                format!("cannot load {name} into CRI-O's store without podman or skopeo: install one, then run this again, or run `skopeo copy oci-archive:pause.tar {stored}`")
            })?;
            vec![
                skopeo.display().to_string(),
                "copy".to_owned(),
                "--quiet".to_owned(),
                format!("oci-archive:{file}"),
                stored,
            ]
        };
        Ok(words)
    }
}

impl Runtime for Crio {
    fn title(&self) -> String {
        format!("CRI-O {}, {}", self.version, self.drop_in().file.display())
    }

    fn socket(&self) -> &Path {
        Path::new(SOCKET)
    }

    fn configured(&self) -> Result<Option<String>> {
        self.drop_in().image()
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        if !self.has_other_command()? {
            return self.drop_in().plan(image);
        }
        // The file names the command too, the image's own.
        let mut drop_in = self.drop_in();
        drop_in.get = |_, _| Ok(None);
        drop_in.set = |old, image| {
            let new = edit::set(old, IMAGE, image)?;
            Ok(edit::set(&new, COMMAND, "/pause")?.trim_start().to_owned())
        };
        drop_in.plan(image)
    }

    fn plan_undo(&self, _is_ours: &dyn Fn(&str) -> bool) -> Result<Option<Edit>> {
        self.drop_in().plan_undo()
    }

    fn import(&self, archive: &Archive) -> Result<()> {
        // A file in memory, which both can seek in.
        let words = Self::load(&archive.name, "/proc/self/fd/0")?;
        run(
            command(Path::new(&words[0])).args(&words[1..]),
            &archive.bytes,
        )?;
        let cri = Client::of(self.socket());
        if cri.call(VersionRequest {}).is_err() {
            return Ok(());
        }
        image::expect_stored(&cri, archive)
    }

    fn import_lines(&self, archive: &Archive, file: &str) -> Result<Vec<String>> {
        let words = Self::load(&archive.name, file)?;
        Ok(vec![format!("ExecStartPre=-{}", words.join(" "))])
    }

    fn has_read(&self) -> bool {
        let configured = self.configured().ok().flatten();
        // Without an image it reads its default, whatever that is.
        let former = self.named.borrow().clone();
        if configured.is_none() && former.is_none() {
            return true;
        }
        let config = run(command(&self.executable).args(["status", "config"]), &[]);
        let read = config.and_then(|config| edit::get(&config, IMAGE));
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
        let drops = drop_in(|text, _| {
            let path = ["crio", "runtime", "drop_infra_ctr"];
            Ok(edit::at(&edit::content(text)?, &path).map(ToString::to_string))
        });
        let drops = drops.image().is_ok_and(|it| it.as_deref() != Some("false"));
        drops.then_some(
            "CRI-O runs no pause in pods with a PID namespace per container (drop_infra_ctr)",
        )
    }
}
