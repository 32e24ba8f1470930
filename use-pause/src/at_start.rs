//! An image that comes back: a drop-in of the runtime's unit imports and pins it at each start.

use crate::{
    archive::Archive,
    file,
    service::{Service, is_systemd},
};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the archive is kept.
pub const ARCHIVE: &str = "/var/lib/use-pause/pause.tar";

/// The drop-in.
pub struct AtStart {
    file: PathBuf,
    text: String,
    was_there: bool,
}

fn drop_in(service: &Service) -> PathBuf {
    format!("/etc/systemd/system/{}.service.d/use-pause.conf", service.0).into()
}

impl AtStart {
    pub fn plan(service: &Service, lines: &[String]) -> Result<Self> {
        ensure!(is_systemd(), "--import-at-start needs systemd");
        let file = drop_in(service);
        Ok(Self {
            text: format!(
                "# By use-pause --import-at-start.\n[Service]\n{}\n",
                lines.join("\n")
            ),
            was_there: file.exists(),
            file,
        })
    }

    /// Writes the archive, then the drop-in that names it.
    pub fn place(self, archive: &Archive) -> Result<Self> {
        file::write(Path::new(ARCHIVE), &archive.bytes)
            .with_context(|| format!("cannot write {ARCHIVE}"))?;
        file::write(&self.file, self.text.as_bytes())
            .with_context(|| format!("cannot write {}", self.file.display()))?;
        Service::reload_units()?;
        Ok(self)
    }

    /// Removes the drop-in unless an earlier run made it.
    pub fn take_back(&self) -> Result<()> {
        if self.was_there {
            return Ok(());
        }
        remove(&self.file)
    }

    /// Removes the drop-in of a service. Returns whether there was one.
    pub fn remove(service: &Service) -> Result<bool> {
        let file = drop_in(service);
        let is_there = file.exists();
        if is_there {
            remove(&file)?;
        }
        Ok(is_there)
    }
}

/// The drop-in goes first: it names the archive.
fn remove(file: &Path) -> Result<()> {
    fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    let directory = Path::new(ARCHIVE).parent().unwrap_or(Path::new(ARCHIVE));
    _ = fs::remove_dir_all(directory);
    // Empty unless the node has other drop-ins.
    _ = file.parent().map(fs::remove_dir);
    Service::reload_units()
}
