//! Another root directory: the node's, for a container, or that of a node image being built.

use crate::{command::command, containerd::Containerd, process::wait_for};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::{Pid, chdir, chroot},
};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

const RUN: &str = "/run/use-pause";
const SOCKET: &str = "/run/use-pause/containerd.sock";
const PATIENCE: Duration = Duration::from_secs(60);

/// Changes the root directory.
pub fn enter(root: &Path) -> Result<()> {
    ensure!(root.is_dir(), "{} is not a directory", root.display());
    chroot(root)
        .and_then(|()| chdir("/"))
        .with_context(|| format!("cannot chroot to {}", root.display()))
}

/// Enters the root of a node image, with /proc, /sys, /dev and an empty /run mounted in a mount
/// namespace that ends with this process.
pub fn enter_image(root: &Path) -> Result<()> {
    ensure!(root.is_dir(), "{} is not a directory", root.display());
    let none = None::<&str>;
    let prepare = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        // containerd 2.x looks for the mount that its files are on.
        mount(Some(root), root, none, bind, none)?;
        for directory in ["proc", "sys", "dev"] {
            let from = Path::new("/").join(directory);
            mount(Some(&from), &root.join(directory), none, bind, none)?;
        }
        let run = root.join("run");
        mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::empty(), none)
    };
    prepare().with_context(|| {
        let root = root.display();
        format!("cannot mount proc, sys, dev and run in {root}, which needs these directories")
    })?;
    enter(root)
}

/// A containerd that runs on the files of a node image until it is dropped.
pub struct Own(Child);

impl Own {
    /// Starts it and waits until it answers.
    pub fn start(containerd: &mut Containerd) -> Result<Self> {
        fs::create_dir_all(RUN).with_context(|| format!("cannot make {RUN}"))?;
        let mut daemon = command(&containerd.executable);
        if containerd.config.exists() {
            daemon.arg("--config").arg(&containerd.config);
        }
        daemon.args(["--address", SOCKET, "--state", "/run/use-pause/state"]);
        daemon
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: between fork and exec only system calls are allowed, and this makes one.
        unsafe {
            daemon.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGTERM)?));
        }
        let mut own = Self(daemon.spawn().context("cannot start containerd")?);
        containerd.socket = SOCKET.into();
        let ended = wait_for(PATIENCE, || {
            let ended = own.0.try_wait()?;
            if ended.is_none() {
                containerd.answers()?;
            }
            Ok(ended)
        });
        if let Some(status) = ended.context("the containerd in this root does not answer")? {
            bail!("the containerd in this root does not start: {status}");
        }
        Ok(own)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // On SIGTERM containerd writes to disk what it was given.
        _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        _ = self.0.wait();
    }
}
