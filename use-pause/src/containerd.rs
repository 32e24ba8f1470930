//! containerd 1.6 to 2.4, by its configuration and its own commands.
//!
//! Which key names the sandbox image depends on the version of the file and of containerd, and containerd
//! ignores the others without a word. So use-pause tries each edit on a copy, and takes it only if
//! `containerd config dump` then names the image and is otherwise as before.

use crate::{
    Runtime,
    archive::Archive,
    command::{command, find, run, version},
    cri::Client,
    edit,
    file::{self, Edit, State},
    image, process,
    service::Service,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::Value;
use std::{
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
};

const CONFIG: &str = "/etc/containerd/config.toml";
const SOCKET: &str = "/run/containerd/containerd.sock";
/// The sockets of k0s' and microk8s' containerd, and the usual one. A node of the first two may have a second
/// containerd, for Docker.
const SOCKETS: [&str; 3] = [
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    SOCKET,
];

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

/// The label that makes containerd 1.6.22, 1.7.3 and later spare an image when they clean up (containerd's
/// `internal/cri/labels`).
const PINNED: &str = "io.cri-containerd.pinned=pinned";

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
    /// ctr, and an argument if it is one of a larger program's commands.
    ctr: Vec<PathBuf>,
    /// The configuration file.
    pub config: PathBuf,
    pub socket: PathBuf,
    version: String,
    pid: Option<i32>,
}

impl Containerd {
    /// Finds the containerd that runs, or else the one that would.
    pub fn find(config: Option<&Path>) -> Result<Self> {
        let listens = |it: &&&str| process::listener(Path::new(it)).is_ok();
        let socket = *SOCKETS.iter().find(listens).unwrap_or(&SOCKET);
        let pid = process::listener(Path::new(socket)).ok().flatten();
        let is_containerd = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("containerd")
        };
        let executable = pid
            .and_then(process::executable)
            .filter(is_containerd)
            .or_else(|| find("containerd"))
            .context("cannot find containerd; --runtime names another runtime")?;
        let sibling = Some(executable.with_file_name("ctr")).filter(|file| file.is_file());
        let ctr = sibling.or_else(|| find("ctr")).map(|ctr| vec![ctr]);
        let ctr = ctr.or_else(|| Some(vec![find("k0s")?, "ctr".into()]));
        let option = pid.and_then(|pid| process::option(pid, "--config", "-c"));
        let option = option.map(PathBuf::from).filter(|it| it.is_absolute());
        let config = config.map(Path::to_owned).or(option);
        let mut containerd = Self {
            version: version(&executable)?,
            executable,
            ctr: ctr.context("cannot find ctr, which comes with containerd")?,
            config: config.unwrap_or_else(|| CONFIG.into()),
            socket: socket.into(),
            pid,
        };
        let address = containerd.address().unwrap_or_else(|| socket.to_owned());
        if socket == SOCKET && address != SOCKET {
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
        let mut ctr = command(&self.ctr[0]);
        ctr.args(&self.ctr[1..]);
        ctr.arg("--address").arg(&self.socket);
        ctr.args(["--connect-timeout=5s", "--timeout=2m", "--namespace=k8s.io"]);
        ctr
    }

    /// ctr's words for an import. The CRI unpacks the image, with the snapshotter that it uses. containerd 2.x
    /// without overlayfs has no service that ctr could import by, unless by `--local`, which 1.6 does not know.
    fn import_words(&self) -> Vec<&'static str> {
        let mut words = vec!["images", "import", "--no-unpack", "--all-platforms"];
        if !self.version.starts_with("1.6.") {
            words.push("--local");
        }
        words
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
            let mut message = format!("{error:#}");
            for (part, (_, path)) in parts.iter().zip(&copies) {
                message = message.replace(path, &part.file.display().to_string());
            }
            anyhow!(message)
        })
    }

    /// The edit that names the image.
    fn find_edit(&self, parts: &[Part], before: &str, image: &str) -> Result<Edit> {
        let mut reasons = Vec::new();
        for (index, key) in candidates(parts) {
            let part = &parts[index];
            let new = edit::set(&part.text, key, image)
                .with_context(|| part.file.display().to_string())?;
            match self.dump(parts, Some((index, &new))) {
                Err(error) => reasons.push(format!("{error:#}")),
                Ok(after) if named(&after).as_deref() != Some(image) => {}
                Ok(after) if rest(&after)? != rest(before)? => reasons.push(format!(
                    "with {} set, other settings change in `containerd config dump`",
                    key.join(".")
                )),
                Ok(_) => return self.edit(parts, part, new),
            }
        }
        if reasons.is_empty() {
            reasons.push(self.unread(parts));
        }
        bail!("{}: {}", self.config.display(), reasons.join("; "))
    }

    /// Why no key changes anything.
    fn unread(&self, parts: &[Part]) -> String {
        let version = |part: &Part| match part.version() {
            Some(version) => format!("of version {version}"),
            None => "without a version line".to_owned(),
        };
        let main = version(&parts[0]);
        let differs = |part: &&Part| part.version().is_some() && version(part) != main;
        if let Some(part) = parts.iter().find(differs) {
            return format!(
                "it is {main}, and {}, which it imports, is {}: containerd {} loses settings of one of them; give \
                 both the same version",
                part.file.display(),
                version(part),
                self.version
            );
        }
        format!(
            "containerd {} does not read the sandbox image from a file {main}",
            self.version
        )
    }

    fn edit(&self, parts: &[Part], part: &Part, new: String) -> Result<Edit> {
        let file = file::resolve(&part.file)?;
        file::stays_unread(&file, parts.iter().flat_map(|it| &it.patterns))?;
        let old = file.exists().then(|| part.text.clone());
        let mut edit = Edit::of(file, Some(new))?;
        edit.old.content = old.clone();
        edit.new.kept = Some(old);
        Ok(edit)
    }

    /// Fails if something writes the file anew at each start (k0s' documentation on runtimes, microk8s'
    /// `run-containerd-with-args`).
    fn ensure_it_stays(&self, main: &Part) -> Result<()> {
        let shown = main.file.display();
        ensure!(
            !main.text.contains("# k0s_managed=true"),
            "{shown}: k0s writes it anew at each start: set spec.images.pause in k0s' own configuration, or \
             remove the line `# k0s_managed=true` and take the file over"
        );
        let template = self.config.with_file_name("containerd-template.toml");
        ensure!(
            !template.exists() || template == self.config,
            "{shown}: microk8s writes it anew at each start, from {}: set the sandbox image there",
            template.display()
        );
        Ok(())
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
}

/// The patterns of what a file imports, as full paths (containerd's `cmd/containerd/server/config`).
fn patterns(file: &Path, content: &Value) -> Result<Vec<String>> {
    let listed = content["imports"].as_array().into_iter().flatten();
    let directory = file.parent().unwrap_or(Path::new("/"));
    let patterns = listed.filter_map(Value::as_str).map(|pattern| {
        ensure!(
            pattern.starts_with('/') || !pattern.contains('*'),
            "imports = [{pattern:?}]: containerd's versions disagree on the directory; write the full path"
        );
        Ok(directory.join(pattern).to_string_lossy().into_owned())
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
fn candidates(parts: &[Part]) -> Vec<(usize, Key)> {
    let files = (0..parts.len()).rev();
    let mut all: Vec<(usize, Key)> = files.flat_map(|it| KEYS.map(|key| (it, key))).collect();
    let has_key = |(index, key): &(usize, Key)| parts[*index].has(key);
    let has_table = |(index, key): &(usize, Key)| parts[*index].has(&key[..2]);
    // The sort is stable: within each group the last file comes first.
    all.sort_by_key(|it| (!has_key(it), !has_table(it)));
    // containerd 2.0 to 2.2 read this one from a file of version 2 where another file is of version 3. They would
    // no longer once both had one version.
    let is_of_2 = |index: usize| parts[index].version().is_some_and(|it| it < 3);
    all.retain(|it| (has_table(it) || it.0 == 0) && !(it.1 == KEY_3 && is_of_2(it.0)));
    all
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

    fn socket(&self) -> &Path {
        &self.socket
    }

    fn configured(&self) -> Result<Option<String>> {
        Ok(named(&self.dump_now(&self.parts()?)?))
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
        self.ensure_it_stays(&parts[0])?;
        self.find_edit(&parts, &before, image).map(Some)
    }

    fn plan_undo(&self, is_ours: &dyn Fn(&str) -> bool) -> Result<Option<Edit>> {
        let parts = self.parts()?;
        for (index, part) in parts.iter().enumerate() {
            let mut edit = Edit::of(file::resolve(&part.file)?, None)?;
            let Some(kept) = edit.old.kept.clone() else {
                continue;
            };
            let old = kept.clone().map_or_else(|| self.beginning(), Ok)?;
            let differs = |key: &&Key| edit::get(&part.text, key).ok() != edit::get(&old, key).ok();
            let Some(key) = KEYS.iter().find(differs) else {
                continue;
            };
            let image = edit::get(&part.text, key)?.unwrap_or_default();
            if !is_ours(&image) {
                continue;
            }
            let is_alone = edit::set(&old, key, &image).is_ok_and(|ours| ours == part.text);
            edit.old.content = Some(part.text.clone());
            if is_alone {
                edit.new = State {
                    content: kept,
                    kept: None,
                };
            } else {
                // Somebody changed something else since then, which stays.
                edit.new.content = Some(match edit::get(&old, key)? {
                    Some(image) => edit::set(&part.text, key, &image)?,
                    None => edit::unset(&part.text, key)?,
                });
            }
            let new = edit.new.content.as_deref().unwrap_or(&old);
            self.dump(&parts, Some((index, new)))?;
            return Ok(Some(edit));
        }
        Ok(None)
    }

    fn must_run(&self) -> bool {
        true
    }

    fn import(&self, archive: &Archive) -> Result<()> {
        run(
            self.ctr().args(self.import_words()).arg("-"),
            &archive.bytes,
        )?;
        image::expect_stored(&Client::of(&self.socket), archive)
    }

    fn pin(&self, name: &str) -> Result<bool> {
        let images = |words: &[&str]| run(self.ctr().arg("images").args(words), &[]);
        let is_labelled = images(&["list", &format!("name=={name}")])?.contains(PINNED);
        if !is_labelled {
            images(&["label", name, PINNED])?;
        }
        Ok(!is_labelled)
    }

    fn import_lines(&self, archive: &Archive, file: &str) -> Result<Vec<String>> {
        let line = |words: &[&str]| {
            let mut ctr = self.ctr();
            ctr.args(words);
            let words = [ctr.get_program()].into_iter().chain(ctr.get_args());
            let words: Vec<_> = words.map(|it| it.to_string_lossy()).collect();
            format!("ExecStartPost=-{}", words.join(" "))
        };
        let import = [&self.import_words()[..], &[file]].concat();
        let label = ["images", "label", &archive.name, PINNED];
        Ok(vec![line(&import), line(&label)])
    }

    fn has_read(&self) -> bool {
        let Ok(parts) = self.parts() else {
            return false;
        };
        let mut files = parts.iter().filter(|part| part.file.exists());
        files.all(|part| process::has_started_since(&self.socket, &part.file))
    }

    fn service(&self) -> Service {
        Service::of(self.pid, "containerd")
    }
}
