//! Switches a node's runtime to the pause image for the sandbox of each pod, and back.
//!
//! For each runtime the image comes first and the configuration last, in one step: a node starts
//! wherever use-pause was interrupted. The configuration is not the effect: after a restart it starts a
//! sandbox, looks at the program in it, and goes back if that is not ours.

pub mod archive;
pub mod at_start;
pub mod command;
pub mod containerd;
pub mod cri;
pub mod crio;
pub mod drop_in;
pub mod edit;
pub mod file;
pub mod host;
pub mod image;
pub mod k3s;
pub mod output;
pub mod probe;
pub mod process;
pub mod service;

use anyhow::{Context, Result, anyhow, bail, ensure};
use archive::Archive;
use cri::{Client, StatusRequest, VersionRequest};
use file::Edit;
use output::Output;
use probe::{Program, probe};
use process::{forget_signals, interrupted, wait_for};
use serde_json::{Value, json};
use service::Service;
use std::{path::Path, time::Duration};

/// How long a runtime may take to serve the CRI after a restart.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime that pods run in.
pub trait Runtime {
    /// Its name, version and configuration file.
    fn title(&self) -> String;
    /// The socket of its CRI.
    fn socket(&self) -> &Path;
    /// The name to give the archive's image, so that the runtime's parsers keep it.
    fn name_for(&self, name: &str) -> String {
        name.to_owned()
    }
    /// The sandbox image that the configuration names; none if it leaves that to the runtime.
    fn configured(&self) -> Result<Option<String>>;
    /// The edit that names the image in the configuration, checked as far as the runtime can. None if
    /// it is named already.
    fn plan(&self, image: &str) -> Result<Option<Edit>>;
    /// The edit that takes the last switch back. None if the image that is named now is not ours.
    fn plan_undo(&self, is_ours: &dyn Fn(&str) -> bool) -> Result<Option<Edit>>;
    /// Whether the runtime has the image, or will have it once it restarts.
    fn has(&self, archive: &Archive) -> Result<bool> {
        image::is_stored(&Client::of(self.socket()), archive)
    }
    /// Whether it must run for an import.
    fn must_run(&self) -> bool {
        false
    }
    /// Puts the image into the runtime's store.
    fn import(&self, archive: &Archive) -> Result<()>;
    /// Asks the runtime to spare the image when it cleans up. Returns whether that was necessary.
    fn pin(&self, _image: &str) -> Result<bool> {
        Ok(false)
    }
    /// The lines of systemd that import the image from a file, and pin it, at each start of the runtime. None
    /// if it imports the image itself.
    fn import_lines(&self, archive: &Archive, file: &str) -> Result<Vec<String>>;
    /// Whether the running runtime has read the configuration since it last changed.
    fn has_read(&self) -> bool;
    /// The node's service that runs it.
    fn service(&self) -> Service;
    /// The service's verb to read its configuration again.
    fn verb(&self) -> &'static str {
        "restart"
    }
    /// What decides on the sandbox image in place of the configuration.
    fn overrides(&self) -> Vec<String> {
        Vec::new()
    }
    /// What to know about sandboxes of this runtime.
    fn note(&self) -> Option<&'static str> {
        None
    }
}

/// What the user chose.
pub struct Options {
    pub restart: bool,
    pub at_start: bool,
    /// Whether the runtime serves no pods: it is that of a node image.
    pub is_off: bool,
}

/// Switches the node to the image, or fails and leaves the configuration as it was.
pub fn switch(
    runtime: &dyn Runtime,
    archive: &Archive,
    options: &Options,
    out: &Output,
) -> Result<()> {
    let name = &*archive.name;
    let cri = Client::of(runtime.socket());
    let plan = || {
        let edit = runtime.plan(name)?;
        let at_start = if options.at_start {
            let lines = runtime.import_lines(archive, at_start::ARCHIVE)?;
            at_start::plan(&runtime.service(), &lines)?
        } else {
            None
        };
        Ok((edit, at_start))
    };
    let (edit, at_start) = plan().map_err(unchanged)?;
    let mut change = Change {
        edit,
        at_start,
        before: None,
        is_wanted: |it| it.ours.is_some(),
        outcome: format!("new pods get the sandbox image {name}"),
    };
    change.check(runtime, options).map_err(unchanged)?;
    if runtime.must_run() && !options.is_off {
        cri.call(VersionRequest {}).map_err(|error| {
            let start = runtime.service().shown("start");
            unchanged(anyhow!("the runtime does not answer ({error:#}): {start}"))
        })?;
    }
    change.begin(runtime, archive, options, out)?;
    if let Some(Err(error)) = &change.before {
        out.line(&format!("before: the node starts no sandbox: {error:#}"));
    }
    let mut done = Vec::new();
    let mut import = || -> Result<()> {
        if !runtime.has(archive).unwrap_or(false) {
            runtime.import(archive)?;
            done.push("imported");
        }
        if runtime.pin(name)? {
            done.push("pinned");
        }
        if change.at_start.is_some() {
            let file = at_start::ARCHIVE;
            file::write(Path::new(file), &archive.bytes)
                .with_context(|| format!("cannot write {file}"))?;
        }
        interrupted()
    };
    import().map_err(|error| anyhow!("{error:#}; the configuration was not changed"))?;
    if done.is_empty() {
        done.push("already imported");
    }
    out.line(&format!("{name}: {}", done.join(", ")));
    out.set("image", name);
    out.set("imported", done.contains(&"imported"));
    change.finish(runtime, archive, options, out)?;
    if let Some(note) = runtime.note() {
        out.line(note);
    }
    if !options.is_off {
        advise(&cri, runtime, name, out);
    }
    Ok(())
}

/// Says what follows if the runtime does not spare the image.
fn advise(cri: &Client, runtime: &dyn Runtime, name: &str, out: &Output) {
    let pinned = || {
        let image = image::get(cri, name)?;
        ensure!(image.is_some_and(|it| it.pinned), "not pinned");
        Ok(())
    };
    let is_pinned = wait_for(Duration::from_millis(500), pinned).is_ok();
    out.set("pinned", is_pinned);
    if !is_pinned && runtime.has_read() {
        out.line(&format!(
            "{name} is not pinned: this runtime knows no pins, so `crictl rmi --prune` and a kubelet's garbage \
             collection may remove it. A kubelet before 1.35 spares it with --pod-infra-container-image={name}; \
             --import-at-start brings it back"
        ));
    }
}

/// Takes the switch back, or fails and leaves the configuration as it was.
pub fn undo(
    runtime: &dyn Runtime,
    archive: &Archive,
    options: &Options,
    out: &Output,
) -> Result<()> {
    let plan = || {
        let edit = plan_undo(runtime, archive)?;
        Ok((edit, at_start::plan(&runtime.service(), &[])?))
    };
    let (edit, at_start) = plan().map_err(unchanged)?;
    let mut change = Change {
        edit,
        at_start,
        before: None,
        is_wanted: |_| true,
        outcome: "the configuration from before the last switch".to_owned(),
    };
    change.check(runtime, options).map_err(unchanged)?;
    change.begin(runtime, archive, options, out)?;
    change.finish(runtime, archive, options, out)
}

/// The edit of [`undo`]. Another release of ours has another tag.
pub fn plan_undo(runtime: &dyn Runtime, archive: &Archive) -> Result<Option<Edit>> {
    let repository = |name: &str| name.rsplit_once(':').map(|it| it.0.to_owned());
    let cri = Client::of(runtime.socket());
    runtime.plan_undo(&|name| {
        repository(name) == repository(&archive.name)
            || image::get(&cri, name).is_ok_and(|it| it.is_some_and(|it| archive.has_id(&it.id)))
    })
}

fn unchanged(error: anyhow::Error) -> anyhow::Error {
    anyhow!("{error:#}; nothing was changed")
}

/// A change of the configuration, and what it is for.
struct Change {
    edit: Option<Edit>,
    /// That of the drop-in of the runtime's unit.
    at_start: Option<Edit>,
    /// What a sandbox ran before, if that was tried.
    before: Option<Result<Program>>,
    /// Whether a new sandbox runs what it should.
    is_wanted: fn(&Program) -> bool,
    outcome: String,
}

impl Drop for Change {
    fn drop(&mut self) {
        let drop_in = self.at_start.iter();
        drop_in.for_each(|it| at_start::clean(&it.file));
    }
}

impl Change {
    fn edits(&self) -> impl Iterator<Item = &Edit> {
        self.edit.iter().chain(&self.at_start)
    }

    /// Fails if anything is wrong that can be found before the change.
    fn check(&self, runtime: &dyn Runtime, options: &Options) -> Result<()> {
        if options.restart {
            runtime.service().command(runtime.verb())?;
        }
        self.edits().try_for_each(Edit::check)
    }

    /// Looks at what a sandbox runs before the change.
    fn begin(
        &mut self,
        runtime: &dyn Runtime,
        archive: &Archive,
        options: &Options,
        out: &Output,
    ) -> Result<()> {
        let cri = Client::of(runtime.socket());
        self.before = options.restart.then(|| probe(&cri, archive));
        interrupted().map_err(unchanged)?;
        out.line(&runtime.title());
        out.set("runtime", runtime.title());
        Ok(())
    }

    fn place(&self) -> Result<()> {
        let edits: Vec<&Edit> = self.edits().collect();
        for (at, edit) in edits.iter().enumerate() {
            edit.place().inspect_err(|_| {
                _ = edits[..at].iter().try_for_each(|it| it.take_back());
            })?;
        }
        Ok(())
    }

    /// Lets systemd read the drop-in, if that was changed.
    fn reload_units(&self) -> Result<()> {
        let changed = self.at_start.iter();
        changed.map(|_| Service::reload_units()).collect()
    }

    fn take_back(&self) -> Result<()> {
        self.edits().try_for_each(Edit::take_back)?;
        self.reload_units()
    }

    fn finish(
        &self,
        runtime: &dyn Runtime,
        archive: &Archive,
        options: &Options,
        out: &Output,
    ) -> Result<()> {
        self.place().map_err(|error| {
            anyhow!("{error:#}; what was imported stays, and nothing else was changed")
        })?;
        out.set("changed", self.edit.is_some());
        if let Some(edit) = &self.edit {
            let kept = edit.kept_as();
            let kept = kept.map_or_else(String::new, |name| format!("; old file kept as {name}"));
            out.line(&format!("{}: {}{kept}", edit.file.display(), self.outcome));
        } else {
            out.line(&format!("nothing to change: {}", self.outcome));
        }
        for note in self.edits().filter_map(|it| it.note.as_deref()) {
            out.line(note);
        }
        let done = self.reload_units();
        let done = done.and_then(|()| self.take_effect(runtime, archive, options, out));
        let Err(failed) = done else { return Ok(()) };
        let failed = interrupted().err().unwrap_or(failed);
        // Another signal ends what follows.
        forget_signals();
        if self.edits().next().is_none() {
            bail!("{failed:#}; the configuration was as it should be, and was not changed");
        }
        self.take_back()
            .map_err(|error| anyhow!("{failed:#}; {error:#}"))?;
        out.set("changed", false);
        let restored = "restored the old configuration";
        if !options.restart {
            bail!("{failed:#}; {restored}");
        }
        let again = restart(runtime).and_then(|()| probe(&Client::of(runtime.socket()), archive));
        match (again, &self.before) {
            (Ok(program), _) => bail!("{failed:#}; {restored}: a new sandbox runs {program}"),
            (Err(_), Some(Err(before))) => {
                bail!("{failed:#}; {restored}: the node starts no sandbox, as before: {before:#}")
            }
            (Err(again), _) => {
                bail!("{failed:#}; {restored}, but: {again:#}; see the runtime's log")
            }
        }
    }

    /// Restarts the runtime, and fails unless a new sandbox runs what it should. Without `--restart` it says what
    /// to do.
    fn take_effect(
        &self,
        runtime: &dyn Runtime,
        archive: &Archive,
        options: &Options,
        out: &Output,
    ) -> Result<()> {
        let must_read = !options.is_off && (self.edit.is_some() || !runtime.has_read());
        if !options.restart {
            if must_read {
                let restart = runtime.service().shown(runtime.verb());
                out.line(&format!("to apply, run: {restart}"));
                out.line("to verify, run: use-pause probe");
                out.set("to_do", restart);
            }
            return Ok(());
        }
        if must_read {
            restart(runtime)?;
        }
        let program = probe(&Client::of(runtime.socket()), archive)?;
        out.set("probe", program.to_json());
        if !(self.is_wanted)(&program) {
            let notes = runtime.overrides().join("; ");
            let why = if notes.is_empty() {
                notes
            } else {
                format!(" ({notes})")
            };
            bail!("a new sandbox runs {program}{why}");
        }
        out.line(&format!(
            "a new sandbox runs {program}; running pods keep theirs"
        ));
        Ok(())
    }
}

/// Restarts the runtime, and waits until it is ready for sandboxes and has read the configuration.
fn restart(runtime: &dyn Runtime) -> Result<()> {
    runtime.service().run(runtime.verb())?;
    let cri = Client::of(runtime.socket());
    wait_for(PATIENCE, || {
        let status = cri.call(StatusRequest { verbose: false })?.status;
        let conditions = status.unwrap_or_default().conditions;
        let unready = conditions
            .iter()
            .find(|it| it.r#type == "RuntimeReady" && !it.status);
        unready.map_or(Ok(()), |it| Err(anyhow!("{}: {}", it.reason, it.message)))
    })
    .with_context(|| format!("the runtime is not ready after the {}", runtime.verb()))?;
    // A reload goes on after its command has ended.
    let read = || ensure_read(runtime);
    wait_for(Duration::from_secs(5), read)
}

fn ensure_read(runtime: &dyn Runtime) -> Result<()> {
    ensure!(
        runtime.has_read(),
        "the runtime has not read its configuration"
    );
    Ok(())
}

/// Prints the runtime, its sandbox image and its running sandboxes. Returns whether new pods get our program,
/// as far as can be seen without starting one.
pub fn status(runtime: &dyn Runtime, archive: Option<&Archive>, out: &Output) -> Result<bool> {
    let cri = Client::of(runtime.socket());
    let version = cri.call(VersionRequest {});
    let configured = runtime.configured()?;
    let shown = configured.as_deref().unwrap_or("the runtime's default");
    let mut stored = None;
    let reason = match (&version, &configured, archive) {
        (Err(error), ..) => format!("{error:#}"),
        (_, None, _) => "the configuration names no image".to_owned(),
        (.., None) => "this use-pause has no image to compare with".to_owned(),
        (_, Some(name), Some(archive)) => {
            stored = image::get(&cri, name)?;
            match &stored {
                None => format!("no such image: no pod starts unless a registry has it: {name}"),
                Some(image) if !archive.has_id(&image.id) => "another image".to_owned(),
                _ if !runtime.has_read() => {
                    "not restarted since the configuration changed".to_owned()
                }
                _ => String::new(),
            }
        }
    };
    let is_pinned = stored.as_ref().is_some_and(|it| it.pinned);
    let is_ours = reason.is_empty();
    let new_pods = if is_ours {
        "pause".to_owned()
    } else {
        format!("not pause: {reason}")
    };
    let pinned = if is_pinned { "yes" } else { "no" };
    let row = [
        runtime.title(),
        shown.to_owned(),
        pinned.to_owned(),
        new_pods,
    ];
    out.table(&[
        ["RUNTIME", "SANDBOX IMAGE", "PINNED", "NEW PODS"].map(str::to_owned),
        row,
    ]);
    out.set("runtime", runtime.title());
    out.set("image", configured);
    out.set("pinned", is_pinned);
    out.set("ours", is_ours);
    out.set("reason", Some(reason).filter(|it| !it.is_empty()));
    for line in runtime.overrides() {
        out.line(&line);
    }
    if version.is_ok() {
        let running = probe::running(&cri, archive)?;
        let mut rows = vec![["SANDBOXES", "PROGRAM", "SHA256", "IMAGE"].map(str::to_owned)];
        let mut list = Vec::new();
        for (program, count) in running {
            let sha256 = program.sha256.clone().unwrap_or_default();
            rows.push([
                count.to_string(),
                program.kind(),
                sha256,
                program.image.clone(),
            ]);
            let mut object = program.to_json();
            object["count"] = json!(count);
            list.push(object);
        }
        if rows.len() == 1 {
            rows[0] = ["no sandbox runs", "", "", ""].map(str::to_owned);
        }
        out.line("");
        out.table(&rows);
        out.set("sandboxes", Value::from(list));
    }
    Ok(is_ours)
}
