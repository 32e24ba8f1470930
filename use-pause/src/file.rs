//! Replaces a file in one step, and keeps the old one beside it.

use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown, symlink},
    path::{Path, PathBuf},
};

/// A change of one file.
pub struct Edit {
    /// The file itself, never a symbolic link to it.
    pub file: PathBuf,
    /// The content before; none if there is no file.
    pub old: Option<String>,
    /// The content after; none if the edit removes the file.
    pub new: Option<String>,
    pub before: Before,
    /// What an earlier edit kept, as [`kept`] returns it.
    pub earlier: Option<Option<String>>,
    /// A line for whoever made the change.
    pub note: Option<String>,
}

/// What happens to `FILE.before-use-pause`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It becomes the old file.
    Keep,
    /// It becomes the file again.
    Restore,
    /// Nothing.
    Leave,
}

impl Edit {
    /// The name of the old file, if the edit keeps one.
    pub fn kept_as(&self) -> Option<String> {
        if self.before != Before::Keep || self.old.is_none() {
            return None;
        }
        let before = before(&self.file);
        Some(before.file_name()?.to_string_lossy().into_owned())
    }

    /// Fails if the new file could not be written.
    pub fn check(&self) -> Result<()> {
        let content = self.new.as_deref().unwrap_or_default();
        let shown = self.file.display();
        write_new(&self.file, content.as_bytes())
            .with_context(|| format!("cannot write {shown}"))?;
        // What stays is overwritten.
        _ = fs::remove_file(new(&self.file));
        Ok(())
    }

    /// Changes the file in one step, or fails and leaves it as it is.
    pub fn place(&self) -> Result<()> {
        let try_to_place = || {
            ensure!(
                read(&self.file)? == self.old,
                "it changed while use-pause ran: run this again"
            );
            self.put(self.new.as_deref(), self.before)
        };
        let shown = self.file.display();
        try_to_place().with_context(|| format!("cannot write {shown}"))
    }

    /// Takes the edit back once it is in place.
    pub fn take_back(&self) -> Result<()> {
        let before = match self.before {
            Before::Keep => Before::Restore,
            Before::Restore => Before::Keep,
            Before::Leave => Before::Leave,
        };
        let take_back = || -> Result<()> {
            self.put(self.old.as_deref(), before)?;
            if before == Before::Restore {
                self.keep_earlier()?;
            }
            Ok(())
        };
        let shown = self.file.display();
        take_back().with_context(|| format!("cannot restore the old {shown}"))
    }

    /// Gives the file this content, or removes it, and does with the kept one what [`Before`] says.
    fn put(&self, content: Option<&str>, to_do: Before) -> Result<()> {
        let file = &self.file;
        let kept = before(file);
        match (to_do, content) {
            (Before::Restore, Some(_)) => fs::rename(kept, file)?,
            (Before::Restore, None) => {
                fs::remove_file(file)?;
                _ = fs::remove_file(kept);
            }
            (_, None) => fs::remove_file(file)?,
            (Before::Leave, Some(content)) => write(file, content.as_bytes())?,
            (Before::Keep, Some(content)) => {
                keep(file)?;
                write(file, content.as_bytes()).inspect_err(|_| {
                    _ = fs::remove_file(kept);
                    _ = self.keep_earlier();
                })?;
            }
        }
        Ok(())
    }

    /// Keeps again what an earlier edit kept.
    fn keep_earlier(&self) -> Result<()> {
        let kept = before(&self.file);
        match &self.earlier {
            None => {}
            Some(None) => symlink("/dev/null", kept)?,
            Some(Some(content)) => {
                write_new(&self.file, content.as_bytes())?;
                fs::rename(new(&self.file), kept)?;
            }
        }
        Ok(())
    }
}

/// Where the old file is kept.
pub fn before(file: &Path) -> PathBuf {
    file.with_added_extension("before-use-pause")
}

/// Where a new file is written before it moves into place.
fn new(file: &Path) -> PathBuf {
    file.with_added_extension("use-pause-new")
}

/// What an edit kept of a file: nothing, that there was no file (`Some(None)`), or its content.
pub fn kept(file: &Path) -> Result<Option<Option<String>>> {
    let before = before(file);
    if before.is_symlink() {
        return Ok(Some(None));
    }
    Ok(read(&before)?.map(Some))
}

/// A file's content; none if there is no file.
pub fn read(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The file behind symbolic links, which need not exist if `path` is not a link.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
            Ok(path.to_owned())
        }
        resolved => resolved.with_context(|| format!("cannot resolve {}", path.display())),
    }
}

/// Removes a file that an earlier run may have left.
fn clear(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Keeps the file's inode under the other name, or a link to /dev/null if there is no file.
fn keep(file: &Path) -> Result<()> {
    let before = before(file);
    let try_to_keep = || {
        clear(&before)?;
        if file.exists() {
            fs::hard_link(file, &before)
        } else {
            fs::create_dir_all(directory(file))?;
            symlink("/dev/null", &before)
        }
    };
    try_to_keep().with_context(|| format!("cannot keep the old file as {}", before.display()))
}

fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

/// Writes a file whole or not at all, with the old one's mode, owner and attributes, SELinux' label among
/// them.
pub fn write(file: &Path, content: &[u8]) -> Result<()> {
    write_new(file, content)?;
    fs::rename(new(file), file).inspect_err(|_| _ = fs::remove_file(new(file)))?;
    // Without this a power cut may undo the rename, even after the runtime has read the new file.
    _ = File::open(directory(file)).and_then(|directory| directory.sync_all());
    Ok(())
}

/// Writes the content beside a file, with that one's mode, owner and attributes, or leaves nothing.
fn write_new(file: &Path, content: &[u8]) -> Result<()> {
    let new = new(file);
    let try_to_write = || -> Result<()> {
        fs::create_dir_all(directory(file))?;
        clear(&new)?;
        let mut handle = OpenOptions::new().write(true).create_new(true).open(&new)?;
        handle.set_permissions(Permissions::from_mode(0o600))?;
        handle.write_all(content)?;
        let mut mode = 0o644;
        if file.exists() {
            let old = fs::metadata(file)?;
            fchown(&handle, Some(old.uid()), Some(old.gid()))?;
            for name in xattr::list(file).into_iter().flatten() {
                if let Some(value) = xattr::get(file, &name)? {
                    xattr::set(&new, &name, &value)?;
                }
            }
            mode = old.mode() & 0o7777;
        }
        handle.set_permissions(Permissions::from_mode(mode))?;
        Ok(handle.sync_all()?)
    };
    try_to_write().inspect_err(|_| _ = fs::remove_file(&new))
}

/// Fails if a pattern of `imports` also matches what an edit puts beside the file.
pub fn stays_unread<'a>(file: &Path, patterns: impl Iterator<Item = &'a String>) -> Result<()> {
    for pattern in patterns {
        let reads = glob::Pattern::new(pattern)
            .is_ok_and(|it| it.matches_path(&before(file)) || it.matches_path(&new(file)));
        ensure!(
            !reads,
            "imports = [{pattern:?}] would also read the old file kept beside {}: end the pattern with .toml",
            file.display()
        );
    }
    Ok(())
}
