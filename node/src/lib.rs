//! Has a node's runtime take the image of pause for the sandbox of each pod, and goes back.
//!
//! Each runtime is read, checked and changed in the same order: the image first, the configuration
//! last and in one step, so that whatever ends this in between leaves a node that starts.

pub mod archive;
pub mod command;
pub mod containerd;
pub mod crio;
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

/// A runtime that pods run in.
pub trait Runtime {
    /// What it is called, with its version and its configuration.
    fn title(&self) -> String;
    /// The change of its configuration that names the image, checked as far as the runtime can. No
    /// edit where it is named already.
    fn plan(&self, image: &str) -> Result<Option<Edit>>;
    /// The change that takes [`Self::plan`]'s back. No edit where there is nothing to take back.
    fn plan_undo(&self) -> Result<Option<Edit>>;
    /// Has the image in the runtime's store, whole and, where the runtime knows of that, safe from
    /// being cleaned up: what was done for it, a line each.
    fn import(&self, image: &str, archive: Option<&Archive>) -> Result<Vec<String>>;
    /// Whether the runtime that runs has read its configuration since that was changed.
    fn has_read(&self) -> bool;
    /// The node's service that it is.
    fn service(&self) -> Service;
    /// What has the service read its configuration.
    fn verb(&self) -> &'static str {
        "restart"
    }
    /// Sees that the service can be restarted.
    fn can_restart(&self) -> Result<()> {
        self.service().command(self.verb()).map(drop)
    }
    /// Waits until it serves the CRI, once it was restarted.
    fn wait_until_it_serves(&self) -> Result<()>;
    /// What is there, a line each: the image set and its state, and the running sandboxes.
    fn status(&self, archive: Option<&Archive>) -> Result<Vec<(String, String)>>;
}

/// What the command line asks for beside the runtime.
pub struct Wish<'a> {
    /// The image, by its full name.
    pub image: &'a str,
    pub archive: Option<&'a Archive>,
    pub restart: bool,
}

/// Switches the node.
///
/// # Errors
///
/// Whatever is amiss; the configuration is as it was then.
pub fn switch(runtime: &dyn Runtime, wish: &Wish, say: &mut dyn FnMut(&str)) -> Result<()> {
    let edit = planned(runtime, wish.restart, runtime.plan(wish.image))?;
    let imported = runtime.import(wish.image, wish.archive);
    let imported =
        imported.map_err(|error| anyhow!("{error:#}; the configuration was not changed"))?;
    say(&runtime.title());
    for line in imported {
        say(&line);
    }
    let named = format!("names {} for the sandbox of new pods", wish.image);
    finish(runtime, edit, wish.restart, &named, say)
}

/// Takes the switch back.
///
/// # Errors
///
/// As of [`switch`].
pub fn undo(runtime: &dyn Runtime, restart: bool, say: &mut dyn FnMut(&str)) -> Result<()> {
    let edit = planned(runtime, restart, runtime.plan_undo())?;
    say(&runtime.title());
    finish(runtime, edit, restart, "as it was before use-pause", say)
}

/// What is planned, if all that can be known beforehand is right.
fn planned(
    runtime: &dyn Runtime,
    restart: bool,
    edit: Result<Option<Edit>>,
) -> Result<Option<Edit>> {
    let restart = if restart {
        runtime.can_restart()
    } else {
        Ok(())
    };
    restart
        .and(edit)
        .map_err(|error| anyhow!("{error:#}; nothing was changed"))
}

fn finish(
    runtime: &dyn Runtime,
    edit: Option<Edit>,
    restart: bool,
    done: &str,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let placed = match &edit {
        Some(edit) => {
            let placed = edit.place()?;
            say(&format!(
                "{}: now {done}{}",
                edit.file.display(),
                edit.kept()
            ));
            if let Some(note) = &edit.note {
                say(note);
            }
            Some(placed)
        }
        None => {
            say(&format!("{}, already: nothing to change", done));
            None
        }
    };
    if runtime.has_read() {
        return Ok(());
    }
    if !restart {
        let command = runtime.service().shown(runtime.verb());
        say(&format!("left to do: {command}"));
        return Ok(());
    }
    let restart = || {
        runtime.service().run(runtime.verb())?;
        runtime.wait_until_it_serves()
    };
    let failed = match restart() {
        Ok(()) => {
            say("restarted, and it serves the CRI; pods that run keep their sandbox");
            return Ok(());
        }
        Err(failed) => failed,
    };
    let Some(placed) = placed else {
        return Err(failed);
    };
    placed.back()?;
    match restart() {
        Ok(()) => bail!("{failed:#}; the configuration is as it was, and it serves again"),
        Err(again) => bail!(
            "{failed:#}; the configuration is as it was, and yet: {again:#}; see what its log says"
        ),
    }
}
