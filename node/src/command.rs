//! Other programs, run with an error of one line.

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// Where a node's programs are, beside what PATH has, which a container's does not.
const FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin";

fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(FOLDERS);
    path
}

/// A program's file.
pub fn find(name: &str) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&path()).collect();
    let mut files = folders.into_iter().map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

/// A command that finds what it starts in turn.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", path());
    command
}

/// Runs it with that for its standard input: its standard output.
///
/// # Errors
///
/// It cannot be run, or fails: with the last line that it says.
pub fn run(command: &mut Command, input: &[u8]) -> Result<String> {
    let name = Path::new(command.get_program());
    let name = name
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    // A file in memory rather than a pipe, which somebody would have to write to meanwhile.
    let mut stdin: File = memfd_create(c"stdin", MFdFlags::MFD_CLOEXEC)?.into();
    stdin.write_all(input)?;
    stdin.rewind()?;
    let output = command
        .stdin(stdin)
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    ensure!(
        output.status.success(),
        anyhow!(
            "{}",
            last.map_or_else(
                || format!("{name}: {}", output.status),
                |last| {
                    let last = last.trim();
                    if last.starts_with(&format!("{name}: ")) {
                        last.to_owned()
                    } else {
                        format!("{name}: {last}")
                    }
                }
            )
        )
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
