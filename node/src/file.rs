//! A file that is replaced in one step, with the old one kept beside it.

use anyhow::{Context, Result, anyhow, bail, ensure};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown, symlink},
    path::{Path, PathBuf},
};

/// What the name of the file that was there before ends with.
const BEFORE: &str = ".before-use-pause";

/// A change of one file.
pub struct Edit {
    /// The file itself, no symbolic link.
    pub file: PathBuf,
    pub change: Change,
    /// Whether the old file stays beside the new one.
    pub keep: bool,
    /// What whoever reads the change ought to know.
    pub note: Option<String>,
}

/// What is done to it.
pub enum Change {
    /// It gets new content; the old one is none where there is no file.
    Write { old: Option<String>, new: String },
    /// The file that was kept takes its place again.
    Restore { old: String, new: Option<String> },
    /// It is removed.
    Remove { old: String },
}

/// The files of a configuration in the order that they are read: the main one, and those of a folder by
/// name.
pub fn in_order(main: PathBuf, folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut more: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
    more.sort();
    [vec![main], more].concat()
}

/// An edit that is in place.
pub struct Placed<'a>(&'a Edit);

impl Edit {
    /// A change that keeps no file.
    pub fn of(file: PathBuf, change: Change) -> Self {
        Self {
            file,
            change,
            keep: false,
            note: None,
        }
    }

    /// The change that removes a file of ours, if it is there.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn remove(file: PathBuf) -> Result<Option<Self>> {
        let old = read(&file)?;
        Ok(old.map(|old| Self::of(file, Change::Remove { old })))
    }

    /// The file's content without and with it.
    pub fn texts(&self) -> (&str, &str) {
        match &self.change {
            Change::Write { old, new } => (old.as_deref().unwrap_or_default(), new),
            Change::Restore { old, new } => (old, new.as_deref().unwrap_or_default()),
            Change::Remove { old } => (old, ""),
        }
    }

    /// What is said of the file that is kept.
    pub fn kept(&self) -> String {
        match (&self.change, self.keep) {
            (Change::Write { old: Some(_), .. }, true) => {
                let before = before(&self.file);
                let name = before.file_name().unwrap_or_default().to_string_lossy();
                format!("; as it was: {name}")
            }
            _ => String::new(),
        }
    }

    /// Changes the file, in one step.
    ///
    /// # Errors
    ///
    /// Those of the file system; the file is as it was then.
    pub fn place(&self) -> Result<Placed<'_>> {
        self.try_to_place().map_err(|error| {
            let shown = self.file.display();
            anyhow!("cannot write {shown}: {error:#}; nothing was changed")
        })?;
        Ok(Placed(self))
    }

    fn try_to_place(&self) -> Result<()> {
        let file = &self.file;
        let planned = match &self.change {
            Change::Write { old, .. } => old.as_ref(),
            Change::Restore { old, .. } | Change::Remove { old } => Some(old),
        };
        ensure!(
            read(file)?.as_ref() == planned,
            "somebody else has changed it meanwhile: run this again"
        );
        match &self.change {
            Change::Write { old, new } => {
                if self.keep {
                    keep(file, old.is_some())?;
                }
                let written = write(file, old.is_some(), new.as_bytes());
                if written.is_err() && self.keep {
                    _ = fs::remove_file(before(file));
                }
                written?;
            }
            Change::Restore { new: Some(_), .. } => fs::rename(before(file), file)?,
            Change::Restore { new: None, .. } => {
                fs::remove_file(file)?;
                _ = fs::remove_file(before(file));
            }
            Change::Remove { .. } => fs::remove_file(file)?,
        }
        Ok(())
    }
}

impl Placed<'_> {
    /// Has the file as it was before.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn back(self) -> Result<()> {
        let shown = self.0.file.display();
        self.try_to_go_back()
            .with_context(|| format!("cannot go back to the old {shown}"))
    }

    fn try_to_go_back(&self) -> Result<()> {
        let file = &self.0.file;
        match &self.0.change {
            Change::Write { old: None, .. } => {
                fs::remove_file(file)?;
                _ = fs::remove_file(before(file));
            }
            // What is kept is what was there, unless it was kept by an earlier change.
            Change::Write { old: Some(old), .. }
                if self.0.keep && kept(file)?.flatten().as_ref() == Some(old) =>
            {
                fs::rename(before(file), file)?;
            }
            Change::Write { old: Some(old), .. } => write(file, true, old.as_bytes())?,
            Change::Restore { old, new } => {
                keep(file, new.is_some())?;
                write(file, new.is_some(), old.as_bytes())?;
            }
            Change::Remove { old } => write(file, false, old.as_bytes())?,
        }
        Ok(())
    }
}

/// Where a file that was there before is kept.
pub fn before(file: &Path) -> PathBuf {
    beside(file, BEFORE)
}

/// Where a file is written before it is moved into its place.
fn new(file: &Path) -> PathBuf {
    beside(file, ".use-pause-new")
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// What is kept of a file: nothing, that there was none, or its content.
///
/// # Errors
///
/// Those of the file system.
pub fn kept(file: &Path) -> Result<Option<Option<String>>> {
    let before = before(file);
    match fs::read_link(&before) {
        Ok(_) => return Ok(Some(None)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) => {}
    }
    read(&before).map(Some)
}

/// A file's content, or none where there is no file.
///
/// # Errors
///
/// Those of the file system, and a file that is no text.
pub fn read(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The file that a path means, through symbolic links, whether or not it is there.
///
/// # Errors
///
/// A link that leads nowhere, or in circles.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
            Ok(path.to_owned())
        }
        Err(error) => Err(error).with_context(|| format!("{} leads nowhere", path.display())),
    }
}

/// Keeps a file under another name, as the same file; of none, that there was none.
fn keep(file: &Path, there: bool) -> Result<()> {
    let before = before(file);
    let kept = (|| -> Result<()> {
        match fs::remove_file(&before) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        if there {
            fs::hard_link(file, &before)?;
        } else {
            fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
            symlink("/dev/null", &before)?;
        }
        Ok(())
    })();
    kept.with_context(|| format!("cannot keep the old one as {}", before.display()))
}

/// Writes a file beside the old one, with its mode, owner and attributes (a label of SELinux is one),
/// and moves it into its place.
fn write(file: &Path, there: bool, content: &[u8]) -> Result<()> {
    let new = new(file);
    let folder = file.parent().unwrap_or(Path::new("/"));
    let written = (|| -> Result<()> {
        fs::create_dir_all(folder)?;
        // What a run that was killed left.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut handle = OpenOptions::new().write(true).create_new(true).open(&new)?;
        handle.set_permissions(Permissions::from_mode(0o600))?;
        handle.write_all(content)?;
        if there {
            let old = fs::metadata(file)?;
            fchown(&handle, Some(old.uid()), Some(old.gid()))?;
            for name in xattr::list(file).into_iter().flatten() {
                if let Some(value) = xattr::get(file, &name)? {
                    xattr::set(&new, &name, &value)?;
                }
            }
            handle.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        } else {
            handle.set_permissions(Permissions::from_mode(0o644))?;
        }
        handle.sync_all()?;
        fs::rename(&new, file)?;
        // A power cut may take the new name back as long as it is not on the disk: to a file that the
        // runtime starts with as well.
        _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    })();
    if written.is_err() {
        _ = fs::remove_file(&new);
    }
    written
}

/// Writes a file of bytes, whole or not at all.
///
/// # Errors
///
/// Those of the file system.
pub fn put(file: &Path, content: &[u8]) -> Result<()> {
    write(file, file.exists(), content).with_context(|| format!("cannot write {}", file.display()))
}

/// Sees that none of the patterns, by which other files are read, means the files that are put beside
/// this one.
///
/// # Errors
///
/// One does.
pub fn stays_unread(file: &Path, patterns: &[String]) -> Result<()> {
    for pattern in patterns {
        let reads = glob::Pattern::new(pattern)
            .is_ok_and(|it| it.matches_path(&before(file)) || it.matches_path(&new(file)));
        if reads {
            bail!(
                "what is kept beside {} would be read as well, by imports = [{pattern:?}]: have it end with .toml",
                file.display()
            );
        }
    }
    Ok(())
}
