//! Switches a node's runtime to the pause image for the sandbox of each pod, and back.
//!
//! For each runtime the image comes first and the configuration last, in one step: a node starts
//! wherever use-pause was interrupted.

pub mod archive;
pub mod command;
pub mod containerd;
pub mod cri;
pub mod crio;
pub mod drop_in;
pub mod edit;
pub mod file;
pub mod host;
pub mod k3s;
pub mod process;
pub mod service;

use anyhow::{Result, anyhow, bail};
use archive::Archive;
use file::Edit;
use service::Service;
use std::io::{Write, stdout};

/// A runtime that pods run in.
pub trait Runtime {
    /// Its name, version and configuration file.
    fn title(&self) -> String;
    /// The edit that names the image in the configuration, checked as far as the runtime can. None if
    /// it is named already.
    fn plan(&self, image: &str) -> Result<Option<Edit>>;
    /// The edit that takes a switch back. None if the configuration has none.
    fn plan_undo(&self) -> Result<Option<Edit>>;
    /// Puts the image into the runtime's store, from the archive that has it, and pins it if the
    /// runtime can. Says what it did, a line each.
    fn import(&self, image: &str, archive: Option<&Archive>) -> Result<Vec<String>>;
    /// Whether the running runtime has read the configuration since it last changed.
    fn has_read(&self) -> bool;
    /// The node's service that runs it.
    fn service(&self) -> Service;
    /// The service's verb to read its configuration again.
    fn verb(&self) -> &'static str {
        "restart"
    }
    /// Fails if the service cannot be restarted.
    fn can_restart(&self) -> Result<()> {
        self.service().command(self.verb()).map(drop)
    }
    /// Waits until it serves the CRI after a restart.
    fn wait_until_it_serves(&self) -> Result<()>;
    /// The sandbox image, its state and the running sandboxes: a title and a text for each line.
    fn status(&self, archive: Option<&Archive>) -> Result<Vec<(&'static str, String)>>;
}

/// Switches the node to the image, or fails and leaves the configuration as it was.
pub fn switch(
    runtime: &dyn Runtime,
    image: &str,
    archive: Option<&Archive>,
    restart: bool,
) -> Result<()> {
    let edit = planned(runtime, restart, runtime.plan(image))?;
    let archive = archive.filter(|archive| archive.name == image);
    let imported = runtime
        .import(image, archive)
        .map_err(|error| anyhow!("{error:#}; the configuration was not changed"))?;
    say(&runtime.title());
    for line in imported {
        say(&line);
    }
    let outcome = format!("new pods get the sandbox image {image}");
    finish(runtime, edit, restart, &outcome)
}

/// Takes the switch back, or fails and leaves the configuration as it was.
pub fn undo(runtime: &dyn Runtime, restart: bool) -> Result<()> {
    let edit = planned(runtime, restart, runtime.plan_undo())?;
    say(&runtime.title());
    let outcome = "new pods get the sandbox image from before use-pause";
    finish(runtime, edit, restart, outcome)
}

/// Prints a line. If nobody reads it, the change still goes on.
fn say(line: &str) {
    _ = writeln!(stdout(), "{line}");
}

/// The edit, if everything that can be checked beforehand is right.
fn planned(
    runtime: &dyn Runtime,
    restart: bool,
    edit: Result<Option<Edit>>,
) -> Result<Option<Edit>> {
    if restart {
        runtime.can_restart().and(edit)
    } else {
        edit
    }
    .map_err(|error| anyhow!("{error:#}; nothing was changed"))
}

fn finish(runtime: &dyn Runtime, edit: Option<Edit>, restart: bool, outcome: &str) -> Result<()> {
    if let Some(edit) = &edit {
        edit.place()?;
        let kept = edit.kept_as();
        let kept = kept.map_or_else(String::new, |name| format!("; old file kept as {name}"));
        say(&format!("{}: {outcome}{kept}", edit.file.display()));
        if let Some(note) = &edit.note {
            say(note);
        }
    } else {
        say(&format!("nothing to change: {outcome}"));
    }
    if runtime.has_read() {
        return Ok(());
    }
    if !restart {
        let command = runtime.service().shown(runtime.verb());
        say(&format!("still to do: {command}"));
        return Ok(());
    }
    let restart = || {
        runtime.service().run(runtime.verb())?;
        runtime.wait_until_it_serves()
    };
    let Err(failed) = restart() else {
        say("restarted and serving the CRI; running pods keep their sandbox");
        return Ok(());
    };
    let Some(edit) = edit else {
        return Err(failed);
    };
    edit.take_back()?;
    match restart() {
        Ok(()) => bail!("{failed:#}; restored the old configuration, and it serves again"),
        Err(again) => bail!(
            "{failed:#}; restored the old configuration, but: {again:#}; see the runtime's log"
        ),
    }
}
