//! Runs other programs, and says in one line what fails.

use anyhow::{Context, Result, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// Where a node has its programs: a container's PATH lacks some of these.
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
    env::split_paths(&path())
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// A command that finds the programs it starts.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", path());
    command
}

/// A command's standard output. If it fails, the error is the last line of its standard error.
pub fn run(command: &mut Command, input: &[u8]) -> Result<String> {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    // A file in memory: a pipe would need somebody to write to it while the command runs.
    let mut stdin: File = memfd_create(c"stdin", MFdFlags::MFD_CLOEXEC)?.into();
    stdin.write_all(input)?;
    stdin.rewind()?;
    let output = command
        .stdin(stdin)
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let printed = String::from_utf8_lossy(&output.stderr);
    let status = output.status.to_string();
    let last = printed
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty());
    let last = last.unwrap_or(&status);
    // Some programs name themselves.
    let last = last.strip_prefix(&format!("{name}: ")).unwrap_or(last);
    ensure!(output.status.success(), "{name}: {last}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The third word of `--version`, which is the version.
pub fn version(program: &Path) -> Result<String> {
    let printed = run(command(program).arg("--version"), &[])?;
    let version = printed.split_whitespace().nth(2).unwrap_or_default();
    Ok(version.trim_start_matches('v').to_owned())
}
