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
use cri::{Client, Image, StatusRequest, VersionRequest};
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
    /// The lines of systemd that import the image from a file, and pin it, at each start of the runtime. There
    /// are none if it imports the image itself.
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

/// A node, and what the user chose.
pub struct Node<'a> {
    pub runtime: &'a dyn Runtime,
    pub archive: &'a Archive,
    pub out: &'a Output,
    pub restart: bool,
    /// Whether the runtime's unit imports the image at each start.
    pub at_start: bool,
    /// Whether the runtime serves no pods: it is that of a node image.
    pub is_off: bool,
}

/// A change of the configuration, and what it is for.
struct Change {
    edit: Option<Edit>,
    /// That of the drop-in of the runtime's unit.
    at_start: Option<Edit>,
    /// What a sandbox ran before, if that was tried.
    before: Option<Result<Program>>,
    /// Whether a new sandbox must run our program.
    is_switch: bool,
    outcome: String,
}

impl Drop for Change {
    fn drop(&mut self) {
        let drop_in = self.at_start.iter();
        drop_in.for_each(|it| at_start::clean(&it.file));
    }
}

impl Change {
    fn edits(&self) -> impl DoubleEndedIterator<Item = &Edit> {
        self.edit.iter().chain(&self.at_start)
    }

    fn place(&self) -> Result<()> {
        for (at, edit) in self.edits().enumerate() {
            edit.place().inspect_err(|_| {
                _ = self.edits().take(at).try_for_each(Edit::take_back);
            })?;
        }
        Ok(())
    }

    fn take_back(&self) -> Result<()> {
        self.edits().try_for_each(Edit::take_back)?;
        self.reload_units()
    }

    /// Lets systemd read the drop-in, if that was changed.
    fn reload_units(&self) -> Result<()> {
        let mut changed = self.at_start.iter();
        changed.try_for_each(|_| Service::reload_units())
    }
}

impl Node<'_> {
    /// Switches the node to the image, or fails and leaves the configuration as it was.
    pub fn switch(&self) -> Result<()> {
        let (runtime, archive, out) = (self.runtime, self.archive, self.out);
        let name = &*archive.name;
        let outcome = format!("new pods get the sandbox image {name}");
        let plan = || {
            let at_start = if self.at_start {
                let lines = runtime.import_lines(archive, at_start::ARCHIVE)?;
                at_start::plan(&runtime.service(), &lines)?
            } else {
                None
            };
            self.begin(true, runtime.plan(name)?, at_start, outcome)
        };
        let change = plan().map_err(unchanged)?;
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
        self.finish(&change)?;
        if let Some(note) = runtime.note() {
            out.line(note);
        }
        if !self.is_off {
            self.advise();
        }
        Ok(())
    }

    /// Says what follows if the runtime does not spare the image.
    fn advise(&self) {
        let name = &*self.archive.name;
        let pinned = || {
            let image = image::get(&self.cri(), name)?;
            ensure!(image.is_some_and(|it| it.pinned), "not pinned");
            Ok(())
        };
        let is_pinned = wait_for(Duration::from_millis(500), pinned).is_ok();
        self.out.set("pinned", is_pinned);
        if !is_pinned && self.runtime.has_read() {
            self.out.line(&format!(
                "{name} is not pinned: this runtime knows no pins, so `crictl rmi --prune` and a kubelet's garbage \
                 collection may remove it. A kubelet before 1.35 spares it with --pod-infra-container-image={name}; \
                 --import-at-start brings it back"
            ));
        }
    }

    /// Takes the switch back, or fails and leaves the configuration as it was.
    pub fn undo(&self) -> Result<()> {
        let outcome = "the configuration from before the last switch".to_owned();
        let plan = || {
            let at_start = at_start::plan(&self.runtime.service(), &[])?;
            self.begin(false, self.plan_undo()?, at_start, outcome)
        };
        self.finish(&plan().map_err(unchanged)?)
    }

    /// The edit of [`Self::undo`]. Another release of ours has another tag.
    pub fn plan_undo(&self) -> Result<Option<Edit>> {
        let repository = |name: &str| name.rsplit_once(':').map(|it| it.0.to_owned());
        let is_stored = |it: Option<Image>| it.is_some_and(|it| self.archive.has_id(&it.id));
        self.runtime.plan_undo(&|name| {
            repository(name) == repository(&self.archive.name)
                || image::get(&self.cri(), name).is_ok_and(is_stored)
        })
    }

    fn cri(&self) -> Client {
        Client::of(self.runtime.socket())
    }

    pub fn probe(&self) -> Result<Program> {
        probe(&self.cri(), self.archive)
    }

    /// Fails if anything is wrong that can be found before the change, and looks at what a sandbox runs.
    fn begin(
        &self,
        is_switch: bool,
        edit: Option<Edit>,
        at_start: Option<Edit>,
        outcome: String,
    ) -> Result<Change> {
        let runtime = self.runtime;
        let mut change = Change {
            edit,
            at_start,
            before: None,
            is_switch,
            outcome,
        };
        if self.restart {
            runtime.service().command(runtime.verb())?;
        }
        change.edits().try_for_each(Edit::check)?;
        if is_switch && runtime.must_run() && !self.is_off {
            self.cri().call(VersionRequest {}).map_err(|error| {
                let start = runtime.service().shown("start");
                anyhow!("the runtime does not answer ({error:#}): {start}")
            })?;
        }
        change.before = self.restart.then(|| self.probe());
        interrupted()?;
        self.out.line(&runtime.title());
        self.out.set("runtime", runtime.title());
        Ok(change)
    }

    fn finish(&self, change: &Change) -> Result<()> {
        let out = self.out;
        change.place().map_err(|error| {
            anyhow!("{error:#}; what was imported stays, and nothing else was changed")
        })?;
        out.set("changed", change.edit.is_some());
        let outcome = &change.outcome;
        if let Some(edit) = &change.edit {
            let kept = edit.kept_as();
            let kept = kept.map_or_else(String::new, |name| format!("; old file kept as {name}"));
            out.line(&format!("{}: {outcome}{kept}", edit.file.display()));
        } else {
            out.line(&format!("nothing to change: {outcome}"));
        }
        for note in change.edits().filter_map(|it| it.note.as_deref()) {
            out.line(note);
        }
        let done = change.reload_units().and_then(|()| self.apply(change));
        let Err(failed) = done else { return Ok(()) };
        let failed = interrupted().err().unwrap_or(failed);
        // Another signal ends what follows.
        forget_signals();
        if change.edits().next().is_none() {
            bail!("{failed:#}; the configuration was as it should be, and was not changed");
        }
        let taken_back = change.take_back();
        taken_back.map_err(|error| anyhow!("{failed:#}; {error:#}"))?;
        out.set("changed", false);
        let restored = "restored the old configuration";
        if !self.restart {
            bail!("{failed:#}; {restored}");
        }
        match (self.restart().and_then(|()| self.probe()), &change.before) {
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
    fn apply(&self, change: &Change) -> Result<()> {
        let (runtime, out) = (self.runtime, self.out);
        let must_read = !self.is_off && (change.edit.is_some() || !runtime.has_read());
        if !self.restart {
            if must_read {
                let restart = runtime.service().shown(runtime.verb());
                out.line(&format!("to apply, run: {restart}"));
                out.line("to verify, run: use-pause probe");
                out.set("to_do", restart);
            }
            return Ok(());
        }
        interrupted()?;
        if must_read {
            self.restart()?;
        }
        let program = self.probe()?;
        out.set("probe", program.to_json());
        if change.is_switch && program.ours.is_none() {
            let notes = runtime.overrides();
            let notes = notes.iter().map(|it| format!(" ({it})"));
            bail!("a new sandbox runs {program}{}", notes.collect::<String>());
        }
        out.line(&format!(
            "a new sandbox runs {program}; running pods keep theirs"
        ));
        Ok(())
    }

    /// Restarts the runtime, and waits until it is ready for sandboxes and has read the configuration.
    fn restart(&self) -> Result<()> {
        let runtime = self.runtime;
        runtime.service().run(runtime.verb())?;
        let ready = || {
            let status = self.cri().call(StatusRequest { verbose: false })?.status;
            let conditions = status.unwrap_or_default().conditions;
            let unready = conditions
                .iter()
                .find(|it| it.r#type == "RuntimeReady" && !it.status);
            unready.map_or(Ok(()), |it| Err(anyhow!("{}: {}", it.reason, it.message)))
        };
        wait_for(PATIENCE, ready)
            .with_context(|| format!("the runtime is not ready after the {}", runtime.verb()))?;
        // A reload goes on after its command has ended.
        wait_for(Duration::from_secs(5), || {
            ensure!(
                runtime.has_read(),
                "the runtime has not read its configuration"
            );
            Ok(())
        })
    }
}

fn unchanged(error: anyhow::Error) -> anyhow::Error {
    anyhow!("{error:#}; nothing was changed")
}

/// Prints the runtime, its sandbox image and its running sandboxes. Returns whether new pods get our program,
/// as far as can be seen without starting one.
pub fn status(runtime: &dyn Runtime, archive: &Archive, out: &Output) -> Result<bool> {
    let cri = Client::of(runtime.socket());
    let configured = runtime.configured()?;
    let mut is_pinned = false;
    let mut look = || -> Result<()> {
        cri.call(VersionRequest {})?;
        let name = configured.as_deref();
        let name = name.context("the configuration names no image")?;
        let image = image::get(&cri, name)?;
        let image = image.with_context(|| {
            format!("no such image: no pod starts unless a registry has it: {name}")
        })?;
        is_pinned = image.pinned;
        ensure!(archive.has_id(&image.id), "another image");
        let has_read = runtime.has_read();
        ensure!(has_read, "not restarted since the configuration changed");
        Ok(())
    };
    let reason = look().err().map(|it| format!("{it:#}"));
    let shown = configured.as_deref().unwrap_or("the runtime's default");
    let new_pods = match &reason {
        None => "pause".to_owned(),
        Some(reason) => format!("not pause: {reason}"),
    };
    out.table(&[
        ["RUNTIME", "SANDBOX IMAGE", "PINNED", "NEW PODS"],
        [
            &runtime.title(),
            shown,
            if is_pinned { "yes" } else { "no" },
            &new_pods,
        ],
    ]);
    out.set("runtime", runtime.title());
    out.set("image", configured);
    out.set("pinned", is_pinned);
    out.set("ours", reason.is_none());
    out.set("reason", reason.clone());
    for line in runtime.overrides() {
        out.line(&line);
    }
    if let Ok(running) = probe::running(&cri, archive) {
        let counted = running
            .iter()
            .map(|(it, count)| (count.to_string(), it.kind(), it));
        let counted: Vec<_> = counted.collect();
        let mut rows = vec![["SANDBOXES", "PROGRAM", "SHA256", "IMAGE"]];
        rows.extend(counted.iter().map(|(count, kind, it)| {
            let sha256 = it.sha256.as_deref().unwrap_or_default();
            [&**count, kind, sha256, &it.image]
        }));
        if running.is_empty() {
            rows = vec![["no sandbox runs", "", "", ""]];
        }
        out.line("");
        out.table(&rows);
        let list = running.iter().map(|(program, count)| {
            let mut object = program.to_json();
            object["count"] = json!(count);
            object
        });
        out.set("sandboxes", list.collect::<Value>());
    }
    Ok(reason.is_none())
}
