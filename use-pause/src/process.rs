//! Processes of the node.

use anyhow::{Result, bail};
use nix::{
    libc::c_int,
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
};
use std::{
    fs, io,
    os::unix::{fs::MetadataExt, net::UnixStream},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::atomic::{AtomicI32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// Runs something, of which a panic is an error as well.
pub fn caught<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref().copied());
        bail!("internal error: {}", message.unwrap_or_default())
    })
}

/// The last signal that [`note_signals`] has noted, or 0.
static NOTED: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: c_int) {
    NOTED.store(signal, Ordering::Relaxed);
}

/// From now on SIGHUP, SIGINT and SIGTERM do not end this process but [`interrupted`] fails. What the parent
/// ignores, as nohup does, stays ignored.
pub fn note_signals() -> Result<()> {
    let noting = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler stores a number, and does nothing else.
        unsafe {
            let old = sigaction(signal, &noting)?;
            if matches!(old.handler(), SigHandler::SigIgn) {
                sigaction(signal, &old)?;
            }
        }
    }
    Ok(())
}

/// Fails if a signal has come.
pub fn interrupted() -> Result<()> {
    match Signal::try_from(NOTED.load(Ordering::Relaxed)) {
        Ok(signal) => bail!("interrupted by {signal}"),
        Err(_) => Ok(()),
    }
}

/// Only a further signal is of interest.
pub fn forget_signals() {
    NOTED.store(0, Ordering::Relaxed);
}

/// Asks until the answer is no error, or until time is up or a signal has come.
pub fn wait_for<T>(patience: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        let answer = ask();
        if answer.is_ok() || start.elapsed() > patience {
            return answer;
        }
        interrupted()?;
        sleep(Duration::from_millis(100));
    }
}

/// The process that listens on a socket; none if it is in another PID namespace.
pub fn listener(socket: &Path) -> io::Result<Option<i32>> {
    let stream = UnixStream::connect(socket)?;
    let peer = getsockopt(&stream, PeerCredentials)?;
    Ok(Some(peer.pid()).filter(|pid| *pid > 0))
}

/// A process that runs a program of that name.
pub fn named(name: &str) -> Option<i32> {
    let all = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = all.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.find(|pid: &i32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|it| it.trim_end() == name)
    })
}

/// The file that a process runs, even if another one has replaced it since.
pub fn executable(pid: i32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.to_str()?;
    let path = PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path));
    path.is_file().then_some(path)
}

/// The value of an option in a process's command line, by its long or its short name.
pub fn option(pid: i32, long: &str, short: &str) -> Option<String> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = String::from_utf8_lossy(&words);
    let mut words = words.split('\0');
    while let Some(word) = words.next() {
        if word == long || word == short {
            return words.next().map(str::to_owned);
        }
        if let Some(value) = word.strip_prefix(long).and_then(|it| it.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

/// The service of systemd that a process belongs to, without ".service".
pub fn service(pid: i32) -> Option<String> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut names = cgroups.lines().flat_map(|line| line.rsplit('/'));
    names.find_map(|name| Some(name.strip_suffix(".service")?.to_owned()))
}

/// Whether a runtime has started since a file was last changed or moved into place: a runtime makes
/// its socket anew at each start.
pub fn has_started_since(socket: &Path, file: &Path) -> bool {
    let (Ok(socket), Ok(file)) = (fs::metadata(socket), fs::metadata(file)) else {
        return false;
    };
    (socket.mtime(), socket.mtime_nsec()) > (file.ctime(), file.ctime_nsec())
}
