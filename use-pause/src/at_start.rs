//! An image that comes back: a drop-in of the runtime's unit imports and pins it at each start.

use crate::{
    file::Edit,
    service::{Service, is_systemd},
};
use anyhow::{Result, ensure};
use std::{fs, path::Path};

/// Where the archive is kept.
pub const ARCHIVE: &str = "/var/lib/use-pause/pause.tar";

/// The edit that gives the unit these lines, or, if there are none, removes the drop-in. None if that is not there.
pub fn plan(service: &Service, lines: &[String]) -> Result<Option<Edit>> {
    ensure!(
        lines.is_empty() || is_systemd(),
        "--import-at-start needs systemd"
    );
    let file = format!("/etc/systemd/system/{}.service.d/use-pause.conf", service.0);
    let text = format!(
        "# By use-pause --import-at-start.\n[Service]\n{}\n",
        lines.join("\n")
    );
    let is_wanted = !lines.is_empty();
    let mut edit = Edit::of(file.into(), is_wanted.then_some(text))?;
    edit.note = Some(if is_wanted {
        format!("imported again at each start of {}", service.0)
    } else {
        "no import at each start any more".to_owned()
    });
    Ok(Some(edit).filter(|it| is_wanted || it.old != it.new))
}

/// Removes what is of no use without the drop-in.
pub fn clean(drop_in: &Path) {
    if !drop_in.exists() {
        let directories = [Path::new(ARCHIVE).parent(), drop_in.parent()];
        _ = fs::remove_file(ARCHIVE);
        // The node may have other drop-ins.
        _ = directories.map(|it| it.map(fs::remove_dir));
    }
}
