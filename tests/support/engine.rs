//! Engines, each in a nest: mount, network and PID namespaces of its own, which take everything
//! that it starts and mounts with them.

use crate::{built, output, sandbox::Sandbox, wait_until};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// The image's name as `make` makes it without IMAGE.
pub const IMAGE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// An image with busybox's sh, ps, readlink and sleep, for the apps of a pod.
pub const APP_IMAGE: &str = "localhost/app:test";

/// The archive under test.
pub fn archive() -> PathBuf {
    built("pause.tar")
}

/// Namespaces for an engine, and a folder for its files.
pub struct Nest {
    // Dropped first: what holds the namespaces, then what was in use in them.
    first: Sandbox,
    /// Where the engine keeps its files.
    pub folder: TempDir,
}

impl Nest {
    /// Makes the namespaces, with the loopback up.
    pub fn new() -> Self {
        let nest = Self {
            first: Sandbox::nest(["/bin/sleep", "infinity"]),
            folder: TempDir::with_prefix("pause-test-").unwrap(),
        };
        output(nest.command("ip").args(["link", "set", "lo", "up"]));
        nest
    }

    /// A command that runs in here, for two minutes at most.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.daemon("timeout");
        command.args(["--kill-after=5", "120", program]);
        command
    }

    /// A command that runs in here until all in here ends.
    pub fn daemon(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first.pid));
        command.args(["--net", "--mount", "--pid", program]);
        command
    }

    /// Starts a daemon, its output in a file of the folder, and waits until it is `ready`.
    pub fn start_daemon(&self, mut daemon: Command, mut ready: Command) {
        let log = fs::File::create(self.path("daemon.log")).unwrap();
        daemon
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log);
        let mut daemon = daemon.spawn().unwrap();
        wait_until("ready", || {
            let log = || fs::read_to_string(self.path("daemon.log")).unwrap();
            assert_eq!(daemon.try_wait().unwrap(), None, "{}", log());
            ready.output().unwrap().status.success()
        });
        // nsenter goes with the daemon, which goes with the namespaces.
        drop(daemon);
    }

    /// A path in the folder.
    pub fn path(&self, path: &str) -> String {
        self.folder.path().join(path).to_str().unwrap().to_owned()
    }

    /// The name of the cgroup that all of the engine's are to be in.
    pub fn cgroup(&self) -> String {
        let name = self.folder.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    /// /proc of the PID namespace.
    pub fn proc(&self) -> PathBuf {
        format!("/proc/{}/root/proc", self.first.pid).into()
    }
}

impl Default for Nest {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        self.first.kill();
        let cgroups = glob_cgroups(&self.cgroup());
        wait_until("rid of its cgroups", || {
            cgroups.iter().all(|cgroup| remove_cgroup(cgroup))
        });
    }
}

/// The folders of a cgroup in all hierarchies, v1 and v2.
fn glob_cgroups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders = hierarchies
        .chain([root.to_owned()])
        .map(|hierarchy| hierarchy.join(name));
    folders.filter(|folder| folder.is_dir()).collect()
}

/// Removes a cgroup and those in it, as far as their processes are gone; whether it is gone.
fn remove_cgroup(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroup(&entry.path());
        }
    }
    _ = fs::remove_dir(folder);
    !folder.exists()
}

/// podman, without any configuration or storage of the machine's.
pub struct Podman(pub Nest);

impl Podman {
    /// podman with [`IMAGE`] from the archive and with [`APP_IMAGE`].
    pub fn with_images() -> Self {
        let podman = Self(Nest::new());
        fs::write(
            podman.0.path("containers.conf"),
            // Limits that are not raised, as not every root may raise them.
            "[containers]\n\
             default_ulimits = [\"nofile=20000:20000\", \"nproc=30000:30000\"]\n\
             [engine]\n\
             events_logger = \"file\"\n",
        )
        .unwrap();
        let loaded = podman.run(&["load", "--input", archive().to_str().unwrap()]);
        assert!(loaded.contains(IMAGE), "{loaded}");
        podman.run(&["import", &app_root(&podman.0), APP_IMAGE]);
        podman
    }

    /// podman's command.
    pub fn command(&self) -> Command {
        let mut podman = self.0.command("podman");
        podman.env("CONTAINERS_CONF", self.0.path("containers.conf"));
        for (option, folder) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            podman.args([option, &self.0.path(folder)]);
        }
        podman.args([
            "--storage-driver=overlay",
            "--cgroup-manager=cgroupfs",
            "--runtime=runc",
        ]);
        podman
    }

    /// Runs podman, which must succeed; its output without the last line's end.
    pub fn run(&self, arguments: &[&str]) -> String {
        output(self.command().args(arguments)).trim_end().to_owned()
    }
}

/// A root file system of busybox, as a tar file.
fn app_root(nest: &Nest) -> String {
    let path = nest.path("app.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    let busybox = Path::new("/bin/busybox");
    tar.append_path_with_name(busybox, "bin/busybox").unwrap();
    for applet in ["sh", "ps", "readlink", "sleep"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    tar.finish().unwrap();
    path
}

/// containerd, with nothing of the machine's.
pub struct Containerd(Nest);

impl Containerd {
    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        let containerd = Self(Nest::new());
        let nest = &containerd.0;
        let config = nest.path("config.toml");
        fs::write(
            &config,
            format!(
                "version = 2\n\
                 root = {:?}\n\
                 state = {:?}\n\
                 [grpc]\n\
                 address = {:?}\n\
                 [plugins.\"io.containerd.internal.v1.opt\"]\n\
                 path = {:?}\n",
                nest.path("root"),
                nest.path("state"),
                nest.path("containerd.sock"),
                nest.path("opt"),
            ),
        )
        .unwrap();
        let mut daemon = nest.daemon("containerd");
        daemon.args(["--config", &config]);
        let mut ready = containerd.command();
        ready.arg("version");
        nest.start_daemon(daemon, ready);
        containerd
    }

    fn command(&self) -> Command {
        let mut ctr = self.0.command("ctr");
        ctr.args(["--address", &self.0.path("containerd.sock")]);
        ctr
    }

    /// Runs ctr, which must succeed.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        output(self.command().args(arguments))
    }
}

/// docker's daemon, with nothing of the machine's.
pub struct Docker(Nest);

impl Docker {
    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        let docker = Self(Nest::new());
        let nest = &docker.0;
        let mut daemon = nest.daemon("dockerd");
        for (option, path) in [
            ("--data-root", "root"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
            ("--config-file", "daemon.json"),
        ] {
            daemon.args([option, &nest.path(path)]);
        }
        fs::write(nest.path("daemon.json"), "{}").unwrap();
        daemon.args(["--host", &docker.socket()]);
        daemon.args(["--cgroup-parent", &format!("/{}", nest.cgroup())]);
        daemon.args([
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--default-ulimit=nofile=20000:20000",
        ]);
        daemon.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        let mut ready = docker.command();
        ready.arg("version");
        nest.start_daemon(daemon, ready);
        docker
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.0.path("docker.sock"))
    }

    fn command(&self) -> Command {
        let mut docker = self.0.command("docker");
        docker.args(["--config", &self.0.path("client"), "--host", &self.socket()]);
        docker
    }

    /// Runs docker, which must succeed; its output without the last line's end.
    pub fn run(&self, arguments: &[&str]) -> String {
        output(self.command().args(arguments)).trim_end().to_owned()
    }
}
