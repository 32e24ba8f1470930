//! A file of our own in a runtime's configuration directory.

use crate::file::{self, Edit};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// The configuration of a runtime that reads its main file, then the files of a directory by name. The last
/// one that sets a key wins.
pub struct DropIn {
    /// The runtime, as messages name it.
    pub runtime: &'static str,
    pub main: PathBuf,
    /// Ours, in the directory.
    pub file: PathBuf,
    /// The endings of the files that the runtime reads.
    pub endings: &'static [&'static str],
    /// The key that names the sandbox image.
    pub key: &'static str,
    /// The value of a key in a file's text.
    pub value: fn(&str, &str) -> Result<Option<String>>,
}

impl DropIn {
    /// The value of a key, and the file that sets it.
    pub fn get(&self, key: &str) -> Result<Option<(PathBuf, String)>> {
        let all = self.file.with_file_name("*");
        let read = |file: &PathBuf| {
            let name = file.to_string_lossy();
            self.endings.iter().any(|ending| name.ends_with(ending))
        };
        // glob sorts them by name.
        let files = glob::glob(&all.to_string_lossy())?.flatten().filter(read);
        let mut found = None;
        for file in [self.main.clone()].into_iter().chain(files) {
            let text = file::read(&file)?.unwrap_or_default();
            let value = (self.value)(&text, key).with_context(|| file.display().to_string())?;
            found = value.map(|value| (file, value)).or(found);
        }
        Ok(found)
    }

    /// The edit that gives our file this text, which names the image; none if the configuration names it, and
    /// all else in the text is set already.
    pub fn plan(&self, image: &str, text: String, is_set: bool) -> Result<Option<Edit>> {
        match self.get(self.key)? {
            Some((_, named)) if named == image && is_set => Ok(None),
            Some((path, _)) if path > self.file => bail!(
                "{} sets {}, and {} reads that file after {}: change it there or rename the file",
                path.display(),
                self.key,
                self.runtime,
                self.file.display()
            ),
            _ => Edit::of(self.file.clone(), Some(text)).map(Some),
        }
    }

    /// The edit that removes our file; none if it is not there.
    pub fn plan_undo(&self) -> Result<Option<Edit>> {
        let edit = Edit::of(self.file.clone(), None)?;
        Ok(Some(edit).filter(|it| it.old.content.is_some()))
    }

    /// The sandbox image; none if no file sets it.
    pub fn image(&self) -> Result<Option<String>> {
        Ok(self.get(self.key)?.map(|(_, image)| image))
    }
}
