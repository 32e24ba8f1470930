//! containerd, 1.6 to 2.4, by its configuration and by its own commands.
//!
//! Which key names the sandbox's image depends on the version of the file and on containerd's own, and
//! where containerd does not read a key it says nothing. So nothing here rests on a table of versions
//! alone: each change is tried on a copy of the configuration, and is taken only if `containerd config
//! dump` names the image then and is otherwise as before.

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run},
    edit,
    file::{self, Change, Edit},
    process,
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
    thread::sleep,
    time::{Duration, Instant},
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
const KEYS: [Key; 3] = [KEY_1, KEY_2, KEY_3];

/// What containerd 1.7 and later spare when they clean up (containerd's `internal/cri/labels`).
const PINNED: &str = "io.cri-containerd.pinned=pinned";

/// The longest that containerd gets to serve the CRI once it was restarted.
const PATIENCE: Duration = Duration::from_secs(60);

/// The keys that a file of that version may name the sandbox's image by, the likelier one first.
fn keys(version: Option<i64>) -> Result<&'static [Key]> {
    match version {
        // containerd 2.x reads the newer key in a file without a version.
        None | Some(1) => Ok(&[KEY_1, KEY_3]),
        Some(2) => Ok(&[KEY_2]),
        Some(3 | 4) => Ok(&[KEY_3]),
        Some(other) => bail!("it is of version {other}, which use-pause does not know"),
    }
}

fn version(text: &str) -> Result<Option<i64>> {
    Ok(edit::content(text)?["version"].as_i64())
}

/// A configuration file with the image named in it, as a containerd that has not started yet is to
/// find it. On a node, [`Runtime::plan`] also has containerd check it.
///
/// # Errors
///
/// The file is no TOML, or of a version that is not known.
pub fn configured(text: &str, image: &str) -> Result<String> {
    let keys = keys(version(text)?)?;
    edit::set(text, keys[0], image)
}

/// A file of the configuration.
struct Part {
    file: PathBuf,
    text: String,
    /// What it imports, each in full.
    imports: Vec<String>,
}

/// containerd, running or not.
pub struct Containerd {
    executable: PathBuf,
    ctr: PathBuf,
    config: PathBuf,
    socket: PathBuf,
    version: String,
    pid: Option<i32>,
    /// Whether it was started for this run alone, on the files of a node that is off.
    for_this_alone: bool,
}

impl Containerd {
    /// Finds the one that runs, or else the one that would.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn find(config: Option<&Path>) -> Result<Self> {
        let running = process::listener(Path::new(SOCKET)).ok().flatten();
        let is_one = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("containerd")
        };
        let executable = running.and_then(process::executable).filter(is_one);
        let its_config = running.and_then(|pid| process::option(pid, "--config", "-c"));
        let executable = executable
            .or_else(|| find("containerd"))
            .context("there is no containerd here; --runtime is for others")?;
        let ctr = Some(executable.with_file_name("ctr")).filter(|file| file.is_file());
        let ctr = ctr
            .or_else(|| find("ctr"))
            .context("there is no command ctr, which comes with containerd")?;
        let said = run(command(&executable).arg("--version"), &[])?;
        let version = said.split_whitespace().nth(2).unwrap_or_default();
        let mut containerd = Self {
            ctr,
            config: config
                .map(Path::to_owned)
                .or_else(|| its_config.map(PathBuf::from).filter(|it| it.is_absolute()))
                .unwrap_or_else(|| CONFIG.into()),
            socket: SOCKET.into(),
            version: version.trim_start_matches('v').to_owned(),
            executable,
            pid: running,
            for_this_alone: false,
        };
        if let Ok(dump) = containerd
            .parts()
            .and_then(|parts| containerd.dump(&parts, None))
        {
            // Of version 4 the address is a plugin's.
            let addresses = [
                &dump["grpc"]["address"],
                &dump["plugins"]["io.containerd.server.v1.grpc"]["address"],
            ];
            let address = addresses.into_iter().find_map(Value::as_str);
            if let Some(address) = address.filter(|address| !address.is_empty()) {
                containerd.socket = address.into();
            }
        }
        if containerd.socket != Path::new(SOCKET) {
            containerd.pid = process::listener(&containerd.socket).ok().flatten();
        }
        Ok(containerd)
    }

    /// The executable, for who starts it.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The same, as it runs for this run alone, and listens there.
    pub fn for_this_alone(mut self, socket: &Path) -> Self {
        self.socket = socket.to_owned();
        self.for_this_alone = true;
        self
    }

    /// # Errors
    ///
    /// Nobody answers.
    pub fn answers(&self) -> Result<()> {
        run(self.ctr().arg("version"), &[]).map(drop)
    }

    fn ctr(&self) -> Command {
        let mut ctr = command(&self.ctr);
        ctr.arg("--address").arg(&self.socket);
        ctr.args(["--connect-timeout=5s", "--timeout=2m", "--namespace=k8s.io"]);
        ctr
    }

    fn ensure_it_runs(&self) -> Result<()> {
        self.answers().map_err(|error| {
            anyhow!(
                "containerd does not answer on {} ({error:#}): {}",
                self.socket.display(),
                self.service().shown("start")
            )
        })
    }

    /// The files of the configuration in the order that containerd reads them, the main one first
    /// whether or not it is there.
    fn parts(&self) -> Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        let mut files = vec![self.config.clone()];
        let mut next = 0;
        while let Some(named) = files.get(next).cloned() {
            next += 1;
            let text = file::read(&named)?;
            ensure!(
                text.is_some() || parts.is_empty(),
                "{}: there is no such file, which {} imports",
                named.display(),
                self.config.display()
            );
            let text = text.unwrap_or_default();
            let imports = imports(&named, &text).with_context(|| format!("{}", named.display()))?;
            for pattern in &imports {
                for found in expand(pattern)? {
                    if !files.contains(&found) {
                        files.push(found);
                    }
                }
            }
            parts.push(Part {
                file: named,
                text,
                imports,
            });
        }
        Ok(parts)
    }

    /// What containerd makes of the configuration, with one of its files changed or with none. It
    /// reads copies in memory, so that this works on a full disk, and leaves nothing anywhere.
    fn dump(&self, parts: &[Part], changed: Option<(usize, &str)>) -> Result<Value> {
        // The files are made first, as those that import others have to name them.
        let copies = parts.iter().map(|part| {
            let file: File = memfd_create(c"config.toml", MFdFlags::empty())?.into();
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok((part.file.clone(), (file, path)))
        });
        let copies: HashMap<PathBuf, (File, String)> = copies.collect::<Result<_>>()?;
        for (index, part) in parts.iter().enumerate() {
            let mut text = match changed {
                Some((at, text)) if at == index => text.to_owned(),
                _ => part.text.clone(),
            };
            if !part.imports.is_empty() {
                let mut paths = Vec::new();
                for pattern in &part.imports {
                    for found in expand(pattern)? {
                        paths.extend(copies.get(&found).map(|(_, path)| path.clone()));
                    }
                }
                text = edit::set_array(&text, "imports", &paths)?;
            }
            let mut copy = &copies[&part.file].0;
            copy.write_all(text.as_bytes())?;
        }
        let (_, main) = &copies[&parts[0].file];
        let mut dump = command(&self.executable);
        dump.args(["--config", main, "config", "dump"]);
        let said = run(&mut dump, &[]).map_err(|error| {
            let mut said = format!("{error:#}");
            for (file, (_, path)) in &copies {
                said = said.replace(path, &file.display().to_string());
            }
            anyhow!("{said}")
        })?;
        edit::content(&said).context("the output of containerd config dump")
    }

    /// The change that names the image, in the file that does it.
    fn find_edit(&self, parts: &[Part], before: &Value, image: &str) -> Result<Edit> {
        let mut reasons = Vec::new();
        for (index, key) in candidates(parts)? {
            let part = &parts[index];
            let shown = part.file.display();
            let new = edit::set(&part.text, key, image).with_context(|| format!("{shown}"))?;
            let after = self.dump(parts, Some((index, &new)));
            match after {
                Err(error) => reasons.push(format!("{error:#}")),
                Ok(after) if named(&after) != Some(image) => reasons.push(format!(
                    "containerd {} does not read the sandbox image of a file {}{}",
                    self.version,
                    match version(&part.text)? {
                        Some(version) => format!("of version {version}"),
                        None => "without a version line".to_owned(),
                    },
                    if version(&part.text)?.unwrap_or(1) == 1 {
                        ": `containerd config migrate` writes one that it reads"
                    } else {
                        ""
                    }
                )),
                Ok(after) if rest(&after) != rest(before) => reasons.push(format!(
                    "with {} set, other settings change in `containerd config dump`",
                    key.join(".")
                )),
                Ok(_) => {
                    let file = file::resolve(&part.file)?;
                    let patterns: Vec<_> = parts.iter().flat_map(|it| it.imports.clone()).collect();
                    file::stays_unread(&file, &patterns)?;
                    let there = file.exists();
                    let old = there.then(|| part.text.clone());
                    // What was kept stays, as long as the switch that it is from is in effect.
                    let in_effect = file::kept(&file)?.is_some_and(|kept| {
                        let kept = kept.unwrap_or_default();
                        edit::get(&kept, key).ok() != edit::get(&part.text, key).ok()
                    });
                    return Ok(Edit {
                        file,
                        change: Change::Write { old, new },
                        keep: !in_effect,
                        note: self.note(part)?,
                    });
                }
            }
        }
        bail!("{}: {}", self.config.display(), reasons.join("; "))
    }

    /// What containerd keeps to itself of a file.
    fn note(&self, part: &Part) -> Result<Option<String>> {
        let unread = version(&part.text)?.is_none()
            && (edit::has(&part.text, &KEY_2[..2])? || edit::has(&part.text, &KEY_3[..2])?);
        Ok(unread.then(|| {
            format!(
                "{}: it has no version line, so that containerd {} reads it as of version 1, and takes no notice of its tables for a later one",
                part.file.display(),
                self.version
            )
        }))
    }

    /// What containerd makes of the configuration as it is.
    fn dump_now(&self, parts: &[Part]) -> Result<Value> {
        self.dump(parts, None).with_context(|| {
            format!(
                "containerd cannot read its configuration as it is, {}",
                self.config.display()
            )
        })
    }

    /// What a main file that is not there yet has to begin with.
    fn beginning(&self) -> Result<String> {
        let default = run(command(&self.executable).args(["config", "default"]), &[])?;
        let version = version(&default)?.unwrap_or(2);
        Ok(format!("version = {version}\n"))
    }

    /// The image in containerd's store: what it lists of it.
    fn image(&self, name: &str) -> Result<Option<Stored>> {
        let filter = format!("name=={name}");
        let listed = run(self.ctr().args(["images", "list", &filter]), &[])?;
        let Some(line) = listed
            .lines()
            .find(|line| line.split(' ').next() == Some(name))
        else {
            return Ok(None);
        };
        let checked = run(self.ctr().args(["images", "check", &filter]), &[])?;
        Ok(Some(Stored {
            digest: line
                .split_whitespace()
                .nth(2)
                .unwrap_or_default()
                .to_owned(),
            whole: checked.contains(" complete ") || checked.contains("\tcomplete "),
            pinned: line.contains(PINNED),
        }))
    }

    /// Whether containerd is old enough to know no pins.
    fn knows_no_pins(&self) -> bool {
        self.version.starts_with("1.6.") || self.version.starts_with("1.5.")
    }

    /// The running sandboxes: for each program, by its sha256, how many, and of which images.
    fn sandboxes(&self) -> Result<BTreeMap<String, (usize, Vec<String>)>> {
        let filter = "labels.\"io.cri-containerd.kind\"==sandbox";
        let listed = run(self.ctr().args(["containers", "list", filter]), &[])?;
        let images: HashMap<&str, &str> = listed
            .lines()
            .skip(1)
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, words.next()?))
            })
            .collect();
        let tasks = run(self.ctr().args(["tasks", "list"]), &[])?;
        let mut found: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
        for line in tasks.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [id, pid, "RUNNING"] = words[..] else {
                continue;
            };
            let Some(image) = images.get(id) else {
                continue;
            };
            let program = pid.parse().ok().and_then(process::sha256);
            let program = program.unwrap_or_else(|| "unknown".to_owned());
            let (count, of) = found.entry(program).or_default();
            *count += 1;
            if !of.iter().any(|it| it == image) {
                of.push((*image).to_owned());
            }
        }
        Ok(found)
    }
}

/// An image of containerd's store.
struct Stored {
    digest: String,
    whole: bool,
    pinned: bool,
}

/// What a file imports, each in full (containerd's `cmd/containerd/server/config`).
fn imports(file: &Path, text: &str) -> Result<Vec<String>> {
    let content = edit::content(text)?;
    let listed = content["imports"].as_array().cloned().unwrap_or_default();
    let folder = file.parent().unwrap_or(Path::new("/"));
    listed
        .iter()
        .filter_map(Value::as_str)
        .map(|pattern| {
            if Path::new(pattern).is_absolute() {
                return Ok(pattern.to_owned());
            }
            ensure!(
                !pattern.contains('*'),
                "imports = [{pattern:?}]: which folder that means depends on containerd's version; write it in full"
            );
            Ok(folder.join(pattern).to_string_lossy().into_owned())
        })
        .collect()
}

/// The files that an import means.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    if !pattern.contains('*') {
        return Ok(vec![pattern.into()]);
    }
    let found = glob::glob(pattern).with_context(|| format!("imports = [{pattern:?}]"))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Where the image may have to be named, the likeliest first: where it is set already, and of those
/// the file that containerd reads last; then where the key's table is, which a later file may take the
/// place of as a whole; then the main file.
fn candidates(parts: &[Part]) -> Result<Vec<(usize, Key)>> {
    let mut found: Vec<(usize, Key)> = Vec::new();
    let mut add = |index: usize, wanted: &dyn Fn(Key) -> Result<bool>| -> Result<()> {
        let part = &parts[index];
        let shown = part.file.display();
        for key in keys(version(&part.text)?).with_context(|| format!("{shown}"))? {
            if wanted(key)? && !found.contains(&(index, *key)) {
                found.push((index, *key));
            }
        }
        Ok(())
    };
    for index in (0..parts.len()).rev() {
        add(index, &|key| edit::has(&parts[index].text, key))?;
    }
    for index in (0..parts.len()).rev() {
        add(index, &|key| edit::has(&parts[index].text, &key[..2]))?;
    }
    add(0, &|_| Ok(true))?;
    Ok(found)
}

/// The sandbox's image in a dump, which is of version 2 or later.
fn named(dump: &Value) -> Option<&str> {
    [KEY_3, KEY_2].into_iter().find_map(|key| {
        let mut steps = key.iter();
        steps.try_fold(dump, |value, key| value.get(key))?.as_str()
    })
}

/// All that a dump says beside the sandbox's image.
fn rest(dump: &Value) -> Value {
    let rest = KEYS
        .iter()
        .fold(dump.clone(), |rest, key| edit::without(rest, key));
    edit::without(rest, &["imports"])
}

/// # Errors
///
/// The CRI plugin, or a part of it, is off.
fn ensure_the_cri_is_on(dump: &Value) -> Result<()> {
    let disabled = dump["disabled_plugins"].as_array().into_iter().flatten();
    let mut disabled = disabled.filter_map(Value::as_str);
    match disabled.find(|plugin| *plugin == "cri" || plugin.contains(".cri")) {
        Some(plugin) => bail!(
            "disabled_plugins has {plugin:?}, so that no pod runs in this containerd: take that out first, and restart it"
        ),
        None => Ok(()),
    }
}

impl Runtime for Containerd {
    fn title(&self) -> String {
        format!("containerd {}, {}", self.version, self.config.display())
    }

    fn plan(&self, image: &str) -> Result<Option<Edit>> {
        let mut parts = self.parts()?;
        if !self.config.exists() {
            parts[0].text = self.beginning()?;
        }
        let before = self.dump_now(&parts)?;
        ensure_the_cri_is_on(&before).with_context(|| format!("{}", self.config.display()))?;
        if named(&before) == Some(image) {
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
            let begun = match &kept {
                Some(kept) => kept.clone(),
                None => self.beginning()?,
            };
            // The key that makes the difference.
            let differs =
                |key: &&Key| edit::get(&part.text, key).ok() != edit::get(&begun, key).ok();
            let Some(key) = KEYS.iter().find(differs) else {
                continue;
            };
            let now = edit::get(&part.text, key)?.unwrap_or_default();
            if edit::set(&begun, key, &now).is_ok_and(|ours| ours == part.text) {
                self.dump(&parts, Some((index, &begun)))?;
                let change = Change::Restore {
                    old: part.text.clone(),
                    new: kept,
                };
                return Ok(Some(Edit::of(file, change)));
            }
            // Somebody has changed something else since: that stays.
            let new = match edit::get(&begun, key)? {
                Some(image) => edit::set(&part.text, key, &image)?,
                None => edit::unset(&part.text, key)?,
            };
            self.dump(&parts, Some((index, &new)))?;
            let change = Change::Write {
                old: Some(part.text.clone()),
                new,
            };
            return Ok(Some(Edit::of(file, change)));
        }
        Ok(None)
    }

    fn import(&self, name: &str, archive: Option<&Archive>) -> Result<Vec<String>> {
        self.ensure_it_runs()?;
        let archive = archive.filter(|archive| archive.name == name);
        let is_right = |stored: &Stored| {
            stored.whole && archive.is_none_or(|archive| archive.digest == stored.digest)
        };
        let mut done = Vec::new();
        let mut stored = self.image(name)?;
        if !stored.as_ref().is_some_and(is_right) {
            let archive = archive.with_context(|| {
                format!("containerd has no image {name}, nor has the archive: import it first, or name another")
            })?;
            let mut import = self.ctr();
            import.args(["images", "import", "--all-platforms", "-"]);
            run(&mut import, &archive.bytes)?;
            stored = self.image(name)?;
            ensure!(
                stored.as_ref().is_some_and(is_right),
                "imported, but containerd does not list {name} as {}, complete",
                archive.digest
            );
            done.push("imported");
        }
        if !stored.is_some_and(|stored| stored.pinned) {
            run(self.ctr().args(["images", "label", name, PINNED]), &[])?;
            ensure!(
                self.image(name)?.is_some_and(|stored| stored.pinned),
                "containerd does not keep the label {PINNED} of {name}"
            );
            done.push("pinned");
        }
        let mut lines = vec![match &*done {
            [] => format!("{name}: imported and pinned already"),
            done => format!("{name}: {}", done.join(", ")),
        }];
        if self.knows_no_pins() {
            lines.push(format!(
                "containerd {} knows no pins: start the kubelet with --pod-infra-container-image={name}, and do not run crictl rmi --prune",
                self.version
            ));
        }
        Ok(lines)
    }

    fn has_read(&self) -> bool {
        if self.for_this_alone {
            return true;
        }
        let Ok(parts) = self.parts() else {
            return false;
        };
        let mut files = parts.iter().filter(|part| part.file.exists());
        files.all(|part| process::has_started_since(&self.socket, &part.file) == Some(true))
    }

    fn service(&self) -> Service {
        let name = self.pid.and_then(process::service);
        Service {
            name: name.unwrap_or_else(|| "containerd.service".to_owned()),
        }
    }

    fn can_restart(&self) -> Result<()> {
        ensure!(
            !self.for_this_alone,
            "--root is for a node that is off: there is nothing to restart"
        );
        self.service().command("restart").map(drop)
    }

    fn wait_until_it_serves(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let listed = run(self.ctr().args(["plugins", "list"]), &[]);
            let failed = match listed {
                Ok(listed) => {
                    let cri = listed.lines().find_map(|line| {
                        match line.split_whitespace().collect::<Vec<_>>()[..] {
                            ["io.containerd.grpc.v1", "cri", _, state] => Some(state),
                            _ => None,
                        }
                    });
                    match cri {
                        Some("ok") => return Ok(()),
                        Some(state) => {
                            bail!("containerd's CRI plugin does not start: its state is {state}")
                        }
                        None => bail!("containerd has no CRI plugin"),
                    }
                }
                Err(error) => error,
            };
            if start.elapsed() > PATIENCE {
                bail!(
                    "containerd does not answer {} seconds after the restart: {failed:#}",
                    PATIENCE.as_secs()
                );
            }
            sleep(Duration::from_millis(100));
        }
    }

    fn status(&self, archive: Option<&Archive>) -> Result<Vec<(String, String)>> {
        let mut lines = Vec::new();
        let mut say = |what: &str, said: String| lines.push((what.to_owned(), said));
        let parts = self.parts()?;
        let main = version(&parts[0].text)?;
        say(
            "runtime",
            format!(
                "containerd {}, {}{}",
                self.version,
                self.config.display(),
                match main {
                    Some(version) => format!(" of version {version}"),
                    None if self.config.exists() => " without a version line".to_owned(),
                    None => ", which is not there".to_owned(),
                }
            ),
        );
        let dump = self.dump_now(&parts)?;
        let image = named(&dump).context("containerd config dump names no sandbox image")?;
        let answers = self.answers().is_ok();
        let note = if !answers {
            "; containerd does not answer"
        } else if self.has_read() {
            ""
        } else {
            "; containerd has not been restarted since this was changed"
        };
        say("sandbox image", format!("{image}{note}"));
        if !answers {
            return Ok(lines);
        }
        say(
            "image",
            match self.image(image)? {
                None => "not there: no pod starts unless a registry has it".to_owned(),
                Some(stored) => format!(
                    "{}, {}{}",
                    if stored.whole {
                        "there"
                    } else {
                        "there, but not complete"
                    },
                    if !stored.pinned {
                        "not pinned"
                    } else if self.knows_no_pins() {
                        "labelled, but this containerd knows no pins"
                    } else {
                        "pinned"
                    },
                    match archive {
                        Some(archive)
                            if archive.name == image && archive.digest != stored.digest =>
                            "; not the one of this use-pause",
                        _ => "",
                    }
                ),
            },
        );
        let mut any = false;
        for (program, (count, images)) in self.sandboxes()? {
            any = true;
            let ours = archive.and_then(|archive| archive.programs.get(&program));
            let whose = match ours {
                Some(platform) => format!("pause for {platform}"),
                None => "another".to_owned(),
            };
            say(
                "sandboxes",
                format!(
                    "{count} with {whose}, sha256 {program}, of {}",
                    images.join(", ")
                ),
            );
        }
        if !any {
            say("sandboxes", "none runs".to_owned());
        }
        Ok(lines)
    }
}
