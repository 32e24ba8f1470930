//! Replaces a file in one step, and keeps the old one beside it.

use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown, symlink},
    path::{Path, PathBuf},
};

/// A file, and what is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// None if there is no file.
    pub content: Option<String>,
    /// What `FILE.before-use-pause` keeps: nothing, that there was no file (`Some(None)`), or its content.
    pub kept: Option<Option<String>>,
}

impl State {
    /// The state of a file now.
    pub fn of(file: &Path) -> Result<Self> {
        let before = before(file);
        let kept = if before.is_symlink() {
            Some(None)
        } else {
            read(&before)?.map(Some)
        };
        let content = read(file)?;
        Ok(Self { content, kept })
    }
}

/// A change of one file.
pub struct Edit {
    /// The file itself, never a symbolic link to it.
    pub file: PathBuf,
    pub old: State,
    pub new: State,
    /// A line for whoever made the change.
    pub note: Option<String>,
}

impl Edit {
    /// Gives a file this content, or removes it, and keeps nothing.
    pub fn of(file: PathBuf, content: Option<String>) -> Result<Self> {
        let old = State::of(&file)?;
        let kept = old.kept.clone();
        let new = State { content, kept };
        let note = None;
        Ok(Self {
            file,
            old,
            new,
            note,
        })
    }

    /// The name of the old file, if the edit keeps one.
    pub fn kept_as(&self) -> Option<String> {
        let keeps = matches!(self.new.kept, Some(Some(_)));
        let before = before(&self.file);
        keeps.then(|| before.file_name().unwrap_or_default().display().to_string())
    }

    /// Fails if the new file could not be written, or could not replace the old one.
    pub fn check(&self) -> Result<()> {
        let shown = self.file.display();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let at = |line: &str| line.split(' ').nth(4).map(Path::new) == Some(&self.file);
        ensure!(
            !mounts.lines().any(at),
            "{shown} is a mount of its own, so it cannot be replaced: edit what is mounted there, or unmount it"
        );
        let content = self.new.content.as_deref().unwrap_or_default();
        write_new(&self.file, &self.file, content.as_bytes())
            .and_then(|()| Ok(fs::remove_file(new(&self.file))?))
            .with_context(|| format!("cannot write {shown}"))
    }

    /// Changes the file in one step, or fails and leaves it as it is.
    pub fn place(&self) -> Result<()> {
        let place = || {
            ensure!(
                State::of(&self.file)? == self.old,
                "it changed while use-pause ran: run this again"
            );
            put(&self.file, &self.new).inspect_err(|_| _ = put(&self.file, &self.old))
        };
        place().with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Takes the edit back once it is in place.
    pub fn take_back(&self) -> Result<()> {
        put(&self.file, &self.old)
            .with_context(|| format!("cannot restore the old {}", self.file.display()))
    }
}

/// Brings a file into a state. What is kept is there as long as the new file is.
fn put(file: &Path, to: &State) -> Result<()> {
    let mut now = State::of(file)?;
    let before = before(file);
    if now.content != to.content && now.kept.as_ref() == Some(&to.content) {
        // It becomes the file again, which needs no space.
        match to.content {
            Some(_) => fs::rename(&before, file)?,
            None => clear(file).and_then(|()| clear(&before))?,
        }
        now.content = to.content.clone();
        now.kept = None;
    }
    let keep = || match &to.kept {
        kept if *kept == now.kept => Ok(()),
        Some(Some(text)) if now.content.as_ref() != Some(text) => {
            write_like(file, &before, text.as_bytes())
        }
        kept => {
            clear(&before)?;
            match kept {
                Some(Some(_)) => fs::hard_link(file, &before)?,
                Some(None) => {
                    fs::create_dir_all(directory(file))?;
                    symlink("/dev/null", &before)?;
                }
                None => {}
            }
            Ok(())
        }
    };
    if to.kept.is_some() {
        keep()?;
    }
    match &to.content {
        content if *content == now.content => {}
        Some(text) => write(file, text.as_bytes())?,
        None => clear(file)?,
    }
    if to.kept.is_none() { keep() } else { Ok(()) }
}

/// Where the old file is kept.
pub fn before(file: &Path) -> PathBuf {
    file.with_added_extension("before-use-pause")
}

/// Where a new file is written before it moves into place.
fn new(file: &Path) -> PathBuf {
    file.with_added_extension("use-pause-new")
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

/// Removes a file that may be there.
fn clear(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

/// Writes a file whole or not at all, with the old one's mode, owner and attributes, SELinux' label among
/// them.
pub fn write(file: &Path, content: &[u8]) -> Result<()> {
    write_like(file, file, content)
}

/// The same with the mode, owner and attributes of another file, if that is there.
fn write_like(like: &Path, file: &Path, content: &[u8]) -> Result<()> {
    write_new(like, file, content)?;
    fs::rename(new(file), file).inspect_err(|_| _ = fs::remove_file(new(file)))?;
    // Without this a power cut may undo the rename, even after the runtime has read the new file.
    _ = File::open(directory(file)).and_then(|directory| directory.sync_all());
    Ok(())
}

/// Writes the content beside a file, or leaves nothing.
fn write_new(like: &Path, file: &Path, content: &[u8]) -> Result<()> {
    let new = new(file);
    let try_to_write = || -> Result<()> {
        fs::create_dir_all(directory(file))?;
        clear(&new)?;
        let mut handle = OpenOptions::new().write(true).create_new(true).open(&new)?;
        handle.set_permissions(Permissions::from_mode(0o600))?;
        handle.write_all(content)?;
        let mut mode = 0o644;
        if like.exists() {
            let old = fs::metadata(like)?;
            fchown(&handle, Some(old.uid()), Some(old.gid()))?;
            for name in xattr::list(like).into_iter().flatten() {
                if let Some(value) = xattr::get(like, &name)? {
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
