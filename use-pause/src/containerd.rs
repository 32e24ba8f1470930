//! containerd 1.6 to 2.4, by its configuration and its own commands.
//!
//! Which key names the sandbox image depends on the version of the file and of containerd, and containerd
//! ignores the others without a word. So use-pause tries each edit on a copy, and takes it only if
//! `containerd config dump` then names the image and is otherwise as before.

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run, version},
    edit,
    file::{self, Before, Edit},
    process::{self, wait_for},
    service::Service,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const CONFIG: &str = "/etc/containerd/config.toml";
const SOCKET: &str = "/run/containerd/containerd.sock";

type Key = &'static [&'static str];

/// The keys of files without a version or of version 1, of version 2, and of later ones.
const KEY_1: Key = &["plugins", "cri", "sandbox_image"];
const KEY_2: Key = &["plugins", "io.containerd.grpc.v1.cri", "sandbox_image"];
const KEY_3: Key = &[
    "plugins",
    "io.containerd.cri.v1.images",
    "pinned_images",
    "sandbox",
];
pub const KEYS: [Key; 3] = [KEY_1, KEY_2, KEY_3];

/// The label that has containerd 1.7 and later spare an image when they clean up (containerd's
/// `internal/cri/labels`).
const PINNED: &str = "io.cri-containerd.pinned=pinned";

/// How long containerd may take to serve the CRI after a restart.
const PATIENCE: Duration = Duration::from_secs(60);

/// The keys that may name the sandbox image in a file of that version, the likelier one first.
fn keys(version: Option<i64>) -> Result<&'static [Key]> {
    match version {
        // containerd 2.x reads the newer key in a file without a version.
        None | Some(1) => Ok(&[KEY_1, KEY_3]),
        Some(2) => Ok(&[KEY_2]),
        Some(3 | 4) => Ok(&[KEY_3]),
        Some(other) => bail!("config version {other} is not supported"),
    }
}

/// Names the image in a configuration file that no containerd has read yet. It fails if the file is not
/// TOML or has an unknown version. On a node [`Runtime::plan`] also has containerd check the edit.
pub fn configured(text: &str, image: &str) -> Result<String> {
    let version = edit::content(text)?["version"].as_i64();
    edit::set(text, keys(version)?[0], image)
}

/// A file of the configuration.
struct Part {
    file: PathBuf,
    text: String,
    content: Value,
    /// The patterns of the files that it imports, as full paths.
    patterns: Vec<String>,
    /// Those files, by their place among all parts.
    imports: Vec<usize>,
}

impl Part {
    fn new(file: PathBuf, text: String) -> Result<Self> {
        let content = edit::content(&text)?;
        Ok(Self {
            patterns: patterns(&file, &content)?,
            imports: Vec::new(),
            file,
            text,
            content,
        })
    }

    fn version(&self) -> Option<i64> {
        self.content["version"].as_i64()
    }

    fn has(&self, path: &edit::Path) -> bool {
        edit::at(&self.content, path).is_some()
    }
}

/// containerd, running or not.
pub struct Containerd {
    pub executable: PathBuf,
    ctr: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    pub socket: PathBuf,
    version: String,
    pid: Option<i32>,
    /// Whether use-pause started it, on the files of a node image.
    pub is_for_this_run: bool,
}

impl Containerd {
    /// Finds the containerd that runs, or else the one that would.
    pub fn find(config: Option<&Path>) -> Result<Self> {
        let pid = process::listener(Path::new(SOCKET)).ok().flatten();
        let is_containerd = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("containerd")
        };
        let executable = pid
            .and_then(process::executable)
            .filter(is_containerd)
            .or_else(|| find("containerd"))
            .context("cannot find containerd; --runtime names another runtime")?;
        let ctr = Some(executable.with_file_name("ctr"))
            .filter(|file| file.is_file())
            .or_else(|| find("ctr"))
            .context("cannot find ctr, which comes with containerd")?;
        let option = pid.and_then(|pid| process::option(pid, "--config", "-c"));
        let option = option.map(PathBuf::from).filter(|it| it.is_absolute());
        let config = config.map(Path::to_owned).or(option);
        let mut containerd = Self {
            version: version(&executable)?,
            executable,
            ctr,
            config: config.unwrap_or_else(|| CONFIG.into()),
            socket: SOCKET.into(),
            pid,
            is_for_this_run: false,
        };
        let address = containerd.address().unwrap_or_else(|| SOCKET.to_owned());
        if address != SOCKET {
            containerd.socket = address.into();
            containerd.pid = process::listener(&containerd.socket).ok().flatten();
        }
        Ok(containerd)
    }

    /// The socket that the configuration names.
    fn address(&self) -> Option<String> {
        let dump = self.dump(&self.parts().ok()?, None).ok()?;
        // In version 4 a plugin has it.
        let plugin = ["plugins", "io.containerd.server.v1.grpc", "address"];
        first(&dump, &[&["grpc", "address"], &plugin]).filter(|address| !address.is_empty())
    }

    /// Fails if containerd does not answer.
    pub fn answers(&self) -> Result<()> {
        run(self.ctr().arg("version"), &[]).map(drop)
    }

    fn ctr(&self) -> Command {
        let mut ctr = command(&self.ctr);
        ctr.arg("--address").arg(&self.socket);
        ctr.args(["--connect-timeout=5s", "--timeout=2m", "--namespace=k8s.io"]);
        ctr
    }

    /// The files of the configuration in the order that containerd reads them. The main file comes first,
    /// even if it does not exist.
    fn parts(&self) -> Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        let mut files = vec![self.config.clone()];
        while let Some(file) = files.get(parts.len()).cloned() {
            let text = file::read(&file)?;
            ensure!(
                text.is_some() || parts.is_empty(),
                "{}: no such file, but {} imports it",
                file.display(),
                self.config.display()
            );
            let mut part = Part::new(file.clone(), text.unwrap_or_default())
                .with_context(|| file.display().to_string())?;
            for pattern in &part.patterns {
                for imported in expand(pattern)? {
                    let known = files.iter().position(|it| *it == imported);
                    part.imports.push(known.unwrap_or(files.len()));
                    if known.is_none() {
                        files.push(imported);
                    }
                }
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// containerd's own dump of the configuration, with the text of one file changed or of none. It
    /// reads copies in memory: this works on a full disk, and leaves no file behind.
    fn dump(&self, parts: &[Part], changed: Option<(usize, &str)>) -> Result<String> {
        // All copies come first: a file that imports others needs their paths.
        let copies = parts.iter().map(|_| {
            let copy: File = memfd_create(c"config.toml", MFdFlags::empty())?.into();
            let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
            Ok((copy, path))
        });
        let copies: Vec<(File, String)> = copies.collect::<Result<_>>()?;
        for (index, part) in parts.iter().enumerate() {
            let mut text = match changed {
                Some((at, text)) if at == index => text.to_owned(),
                _ => part.text.clone(),
            };
            if !part.patterns.is_empty() {
                let paths = part.imports.iter().map(|at| &*copies[*at].1);
                text = edit::set_array(&text, "imports", paths)?;
            }
            (&copies[index].0).write_all(text.as_bytes())?;
        }
        let mut dump = command(&self.executable);
        dump.args(["--config", &copies[0].1, "config", "dump"]);
        run(&mut dump, &[]).map_err(|error| {
            let mut said = format!("{error:#}");
            for (part, (_, path)) in parts.iter().zip(&copies) {
                said = said.replace(path, &part.file.display().to_string());
            }
            anyhow!(said)
        })
    }

    /// The edit that names the image.
    fn find_edit(&self, parts: &[Part], before: &str, image: &str) -> Result<Edit> {
        let mut reasons = Vec::new();
        for (index, key) in candidates(parts)? {
            let part = &parts[index];
            let new = edit::set(&part.text, key, image)
                .with_context(|| part.file.display().to_string())?;
            reasons.push(match self.dump(parts, Some((index, &new))) {
                Err(error) => format!("{error:#}"),
                Ok(after) if named(&after).as_deref() != Some(image) => self.unread(part),
                Ok(after) if rest(&after)? != rest(before)? => format!(
                    "with {} set, other settings change in `containerd config dump`",
                    key.join(".")
                ),
                Ok(_) => return self.edit(parts, part, key, new),
            });
        }
        bail!("{}: {}", self.config.display(), reasons.join("; "))
    }

    /// Why a key changes nothing.
    fn unread(&self, part: &Part) -> String {
        let version = match part.version() {
            Some(version) => format!("of version {version}"),
            None => "without a version line".to_owned(),
        };
        let hint = match part.version() {
            None | Some(1) => ": `containerd config migrate` writes one that it reads",
            _ => "",
        };
        format!(
            "containerd {} does not read the sandbox image from a file {version}{hint}",
            self.version
        )
    }

    fn edit(&self, parts: &[Part], part: &Part, key: Key, new: String) -> Result<Edit> {
        let file = file::resolve(&part.file)?;
        file::stays_unread(&file, parts.iter().flat_map(|it| &it.patterns))?;
        let image = |text: &str| edit::get(text, key).ok();
        let before = match file::kept(&file)?.map(Option::unwrap_or_default) {
            // An earlier switch is in effect: the file from before that one stays.
            Some(kept) if image(&kept) != image(&part.text) => Before::Leave,
            _ => Before::Keep,
        };
        Ok(Edit {
            old: file.exists().then(|| part.text.clone()),
            new: Some(new),
            before,
            note: self.note(part, key),
            file,
        })
    }

    /// That containerd ignores a table of a file without a version line. 2.x reads that of version 3.
    fn note(&self, part: &Part, key: Key) -> Option<String> {
        let mut newer = [KEY_2, KEY_3].into_iter();
        let ignored = newer.find(|it| *it != key && part.has(&it[..2]))?;
        part.version().is_none().then(|| {
            format!(
                "{}: no version line, so containerd {} ignores its table plugins.\"{}\"",
                part.file.display(),
                self.version,
                ignored[1]
            )
        })
    }

    /// What containerd makes of the configuration as it is.
    fn dump_now(&self, parts: &[Part]) -> Result<String> {
        self.dump(parts, None).with_context(|| {
            let config = self.config.display();
            format!("containerd cannot read its current configuration, {config}")
        })
    }

    /// The first line of a new main file.
    fn beginning(&self) -> Result<String> {
        let default = run(command(&self.executable).args(["config", "default"]), &[])?;
        let version = edit::content(&default)?["version"].as_i64().unwrap_or(2);
        Ok(format!("version = {version}\n"))
    }

    /// The image in containerd's store.
    fn image(&self, name: &str) -> Result<Option<Stored>> {
        let filter = format!("name=={name}");
        let listed = run(self.ctr().args(["images", "list", &filter]), &[])?;
        let mut lines = listed.lines();
        let Some(line) = lines.find(|line| line.split(' ').next() == Some(name)) else {
            return Ok(None);
        };
        let checked = run(self.ctr().args(["images", "check", &filter]), &[])?;
        let digest = line.split_whitespace().nth(2).unwrap_or_default();
        Ok(Some(Stored {
            digest: digest.to_owned(),
            is_complete: checked.contains(" complete ") || checked.contains("\tcomplete "),
            is_pinned: line.contains(PINNED),
        }))
    }

    /// Whether containerd is too old to spare pinned images.
    fn ignores_pins(&self) -> bool {
        self.version.starts_with("1.6.") || self.version.starts_with("1.5.")
    }

    /// The running sandboxes: for each program, by its sha256, the image of each sandbox.
    fn sandboxes(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let filter = "labels.\"io.cri-containerd.kind\"==sandbox";
        let listed = run(self.ctr().args(["containers", "list", filter]), &[])?;
        let images = listed.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?))
        });
        let images: HashMap<&str, &str> = images.collect();
        let tasks = run(self.ctr().args(["tasks", "list"]), &[])?;
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in tasks.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [id, pid, "RUNNING"] = words[..] else {
                continue;
            };
            if let Some(image) = images.get(id) {
                let program = pid.parse().ok().and_then(process::sha256);
                let program = program.unwrap_or_else(|| "unknown".to_owned());
                found.entry(program).or_default().push((*image).to_owned());
            }
        }
        Ok(found)
    }
}

/// An image in containerd's store.
struct Stored {
    digest: String,
    is_complete: bool,
    is_pinned: bool,
}

/// The patterns of what a file imports, as full paths (containerd's `cmd/containerd/server/config`).
fn patterns(file: &Path, content: &Value) -> Result<Vec<String>> {
    let listed = content["imports"].as_array().into_iter().flatten();
    let folder = file.parent().unwrap_or(Path::new("/"));
    let patterns = listed.filter_map(Value::as_str).map(|pattern| {
        ensure!(
            pattern.starts_with('/') || !pattern.contains('*'),
            "imports = [{pattern:?}]: containerd's versions disagree on the folder; write the full path"
        );
        Ok(folder.join(pattern).to_string_lossy().into_owned())
    });
    patterns.collect()
}

/// The files that match a pattern.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    if !pattern.contains('*') {
        return Ok(vec![pattern.into()]);
    }
    let found = glob::glob(pattern).with_context(|| format!("imports = [{pattern:?}]"))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The files and keys that may name the image, the likeliest first. The key is set already, or else its
/// table is there, in the file that containerd reads last, as a later file may replace the whole table;
/// or else the main file gets it.
fn candidates(parts: &[Part]) -> Result<Vec<(usize, Key)>> {
    let mut all = Vec::new();
    for (index, part) in parts.iter().enumerate().rev() {
        let keys = keys(part.version()).with_context(|| part.file.display().to_string())?;
        all.extend(keys.iter().map(|key| (index, *key)));
    }
    let has_key = |(index, key): &(usize, Key)| parts[*index].has(key);
    let has_table = |(index, key): &(usize, Key)| parts[*index].has(&key[..2]);
    // The sort is stable: within each group the last file comes first.
    all.sort_by_key(|it| (!has_key(it), !has_table(it)));
    all.retain(|it| has_table(it) || it.0 == 0);
    Ok(all)
}

/// The first of these keys that a dump sets to a string.
fn first(dump: &str, keys: &[&edit::Path]) -> Option<String> {
    keys.iter().find_map(|key| edit::get(dump, key).ok()?)
}

/// The sandbox image in a dump, which has version 2 or later.
fn named(dump: &str) -> Option<String> {
    first(dump, &[KEY_3, KEY_2])
}

/// A dump without the sandbox image.
fn rest(dump: &str) -> Result<Value> {
    edit::without(dump, &[KEY_1, KEY_2, KEY_3, &["imports"]])
}

fn ensure_the_cri_is_on(dump: &str) -> Result<()> {
    let dump = edit::content(dump).context("the output of containerd config dump")?;
    let disabled = dump["disabled_plugins"].as_array().into_iter().flatten();
    let mut disabled = disabled.filter_map(Value::as_str);
    if let Some(plugin) = disabled.find(|it| *it == "cri" || it.contains(".cri")) {
        bail!(
            "disabled_plugins has {plugin:?}, so this containerd runs no pods: remove that first, and restart containerd"
        );
    }
    Ok(())
}

impl Runtime for Containerd {
    fn title(&self) -> String {
        format!("containerd {}, {}", self.version, self.config.display())
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        let mut parts = self.parts()?;
        if !self.config.exists() {
            parts[0] = Part::new(self.config.clone(), self.beginning()?)?;
        }
        let before = self.dump_now(&parts)?;
        ensure_the_cri_is_on(&before).with_context(|| self.config.display().to_string())?;
        if named(&before).as_deref() == Some(image) {
            return Ok(None);
        }
        self.find_edit(&parts, &before, image).map(Some)
    }

    fn plan_undo(&self) -> Result<Option<Edit>> {
        let parts = self.parts()?;
        for (index, part) in parts.iter().enumerate() {
            let file = file::resolve(&part.file)?;
            let Some(kept) = file::kept(&file)? else {
                continue;
            };
            let old = kept.clone().map_or_else(|| self.beginning(), Ok)?;
            let differs = |key: &&Key| edit::get(&part.text, key).ok() != edit::get(&old, key).ok();
            let Some(key) = KEYS.iter().find(differs) else {
                continue;
            };
            let now = edit::get(&part.text, key)?.unwrap_or_default();
            let is_ours = edit::set(&old, key, &now).is_ok_and(|ours| ours == part.text);
            let (before, new) = match edit::get(&old, key)? {
                _ if is_ours => (Before::Restore, kept),
                // Somebody changed something else since then, which stays.
                Some(image) => (Before::Leave, Some(edit::set(&part.text, key, &image)?)),
                None => (Before::Leave, Some(edit::unset(&part.text, key)?)),
            };
            self.dump(&parts, Some((index, new.as_deref().unwrap_or(&old))))?;
            return Ok(Some(Edit {
                file,
                old: Some(part.text.clone()),
                new,
                before,
                note: None,
            }));
        }
        Ok(None)
    }

    fn import(&self, name: &str, archive: Option<&Archive>) -> Result<Vec<String>> {
        self.answers().map_err(|error| {
            let (socket, start) = (self.socket.display(), self.service().shown("start"));
            anyhow!("containerd does not answer on {socket} ({error:#}): {start}")
        })?;
        let is_right = |stored: &Stored| {
            stored.is_complete && archive.is_none_or(|archive| archive.digest == stored.digest)
        };
        let mut done = Vec::new();
        let mut stored = self.image(name)?;
        if !stored.as_ref().is_some_and(is_right) {
            let archive = archive.with_context(|| {
                format!("neither containerd nor the archive has the image {name}: import it first, or name another")
            })?;
            let mut import = self.ctr();
            import.args(["images", "import", "--all-platforms", "-"]);
            run(&mut import, &archive.bytes)?;
            stored = self.image(name)?;
            ensure!(
                stored.as_ref().is_some_and(is_right),
                "imported {name}, but containerd does not list it as complete with digest {}",
                archive.digest
            );
            done.push("imported");
        }
        if !stored.is_some_and(|stored| stored.is_pinned) {
            run(self.ctr().args(["images", "label", name, PINNED]), &[])?;
            ensure!(
                self.image(name)?.is_some_and(|stored| stored.is_pinned),
                "containerd does not keep the label {PINNED} of {name}"
            );
            done.push("pinned");
        }
        if done.is_empty() {
            done.push("already imported and pinned");
        }
        let mut lines = vec![format!("{name}: {}", done.join(", "))];
        if self.ignores_pins() {
            lines.push(format!(
                "containerd {} ignores pins: start the kubelet with --pod-infra-container-image={name}, and do not run crictl rmi --prune",
                self.version
            ));
        }
        Ok(lines)
    }

    fn has_read(&self) -> bool {
        if self.is_for_this_run {
            return true;
        }
        let Ok(parts) = self.parts() else {
            return false;
        };
        let mut files = parts.iter().filter(|part| part.file.exists());
        files.all(|part| process::has_started_since(&self.socket, &part.file))
    }

    fn service(&self) -> Service {
        Service::of(self.pid, "containerd")
    }

    fn wait_until_it_serves(&self) -> Result<()> {
        let listed = wait_for(PATIENCE, || run(self.ctr().args(["plugins", "list"]), &[]));
        let listed = listed.with_context(|| {
            let seconds = PATIENCE.as_secs();
            format!("containerd does not answer {seconds} seconds after the restart")
        })?;
        let mut plugins = listed
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let cri = plugins.find(|words| words.starts_with(&["io.containerd.grpc.v1", "cri"]));
        match cri.as_deref() {
            Some([.., "ok"]) => Ok(()),
            Some([.., state]) => {
                bail!("containerd's CRI plugin does not start: its state is {state}")
            }
            _ => bail!("containerd has no CRI plugin"),
        }
    }

    fn status(&self, archive: Option<&Archive>) -> Result<Vec<(&'static str, String)>> {
        let parts = self.parts()?;
        let version = match parts[0].version() {
            Some(version) => format!("version {version}"),
            None if self.config.exists() => "no version line".to_owned(),
            None => "no such file".to_owned(),
        };
        let mut lines = vec![("runtime", format!("{} ({version})", self.title()))];
        let dump = self.dump_now(&parts)?;
        let image = named(&dump).context("containerd config dump names no sandbox image")?;
        if self.answers().is_err() {
            let said = format!("{image}; containerd does not answer");
            lines.push(("sandbox image", said));
            return Ok(lines);
        }
        let note = if self.has_read() {
            ""
        } else {
            "; containerd has not restarted since this changed"
        };
        lines.push(("sandbox image", format!("{image}{note}")));
        let state = match self.image(&image)? {
            None => "missing: no pod starts unless a registry has it".to_owned(),
            Some(stored) => {
                let is_complete = if stored.is_complete {
                    "present"
                } else {
                    "present, but incomplete"
                };
                let is_pinned = match (stored.is_pinned, self.ignores_pins()) {
                    (false, _) => "not pinned",
                    (true, true) => "labelled, but this containerd ignores pins",
                    (true, false) => "pinned",
                };
                let archive = archive.filter(|archive| archive.name == image);
                let differs = if archive.is_some_and(|it| it.digest != stored.digest) {
                    "; not this use-pause's"
                } else {
                    ""
                };
                format!("{is_complete}, {is_pinned}{differs}")
            }
        };
        lines.push(("image", state));
        let sandboxes = self.sandboxes()?;
        if sandboxes.is_empty() {
            lines.push(("sandboxes", "none running".to_owned()));
        }
        for (program, mut images) in sandboxes {
            let count = images.len();
            images.sort();
            images.dedup();
            let images = images.join(", ");
            let ours = archive.and_then(|archive| archive.programs.get(&program));
            let whose = ours.map_or("another program".to_owned(), |it| format!("pause for {it}"));
            let said = format!("{count} with {whose}, sha256 {program}, from {images}");
            lines.push(("sandboxes", said));
        }
        Ok(lines)
    }
}
