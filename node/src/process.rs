//! Processes of the node.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
};

/// The process that listens on a socket; none where it is of another PID namespace.
///
/// # Errors
///
/// Nobody answers.
pub fn listener(socket: &Path) -> io::Result<Option<i32>> {
    let stream = UnixStream::connect(socket)?;
    let peer = getsockopt(&stream, PeerCredentials)?;
    Ok(Some(peer.pid()).filter(|pid| *pid > 0))
}

/// The file that a process runs, though it may have been replaced since.
pub fn executable(pid: i32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    path.is_file().then_some(path)
}

/// The value of an option of a process, by its long and its short name.
pub fn option(pid: i32, long: &str, short: &str) -> Option<String> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = words
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    words.iter().enumerate().find_map(|(index, word)| {
        if word == long || word == short {
            return Some(words.get(index + 1)?.to_string());
        }
        let value = word.strip_prefix(long)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

/// The service of systemd that a process is of.
pub fn service(pid: i32) -> Option<String> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut names = cgroups.lines().flat_map(|line| line.rsplit('/'));
    names
        .find(|name| name.ends_with(".service"))
        .map(str::to_owned)
}

/// Whether a runtime, which makes its socket anew as it starts, has started since a file was last
/// changed or put into its place.
pub fn has_started_since(socket: &Path, file: &Path) -> Option<bool> {
    let socket = fs::metadata(socket).ok()?;
    let file = fs::metadata(file).ok()?;
    let changed = (file.ctime(), file.ctime_nsec());
    Some((socket.mtime(), socket.mtime_nsec()) > changed)
}

/// The sha256 of the file that a process runs, in hex, whatever mount namespace that is in.
pub fn sha256(pid: i32) -> Option<String> {
    let content = fs::read(format!("/proc/{pid}/exe")).ok()?;
    Some(pause_image::layout::sha256(&content))
}
