//! containerd in a nest.

use super::{Cgroups, IMAGE, Nest, app_archive, archive, cri::Client};
use crate::output;
use serde_json::json;
use std::{fs, path::PathBuf, process::Command};

/// containerd, isolated from the machine's, and a client of its Container Runtime Interface.
pub struct Containerd {
    pub(super) nest: Nest,
    /// The directory of its commands.
    pub(crate) commands: PathBuf,
    /// The socket that it listens on, in the nest.
    pub socket: String,
    pub(super) cri: Client,
}

/// The configuration, without defaults that not every machine allows. containerd 2.x reads it too.
const CONFIG: &str = "
version = 2
[plugins.\"io.containerd.internal.v1.opt\"]
path = \"FOLDER/opt\"
[plugins.\"io.containerd.grpc.v1.cri\"]
sandbox_image = \"SANDBOX\"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
stream_server_address = \"127.0.0.1\"
[plugins.\"io.containerd.grpc.v1.cri\".cni]
bin_dir = \"/usr/lib/cni\"
conf_dir = \"FOLDER/cni\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
BinaryName = \"RUNTIME\"
";

impl Containerd {
    /// Starts the machine's containerd and waits until it answers.
    pub fn start() -> Self {
        Self::start_with_sandbox(IMAGE)
    }

    /// Starts it with another sandbox image.
    pub fn start_with_sandbox(image: &str) -> Self {
        Self::start_in(Nest::new(), "/usr/bin".into(), "runc", image)
    }

    /// Starts the containerd of a directory of commands.
    pub fn start_at(commands: PathBuf) -> Self {
        Self::start_in(Nest::new(), commands, "runc", IMAGE)
    }

    /// Starts another Debian release's containerd on a runtime.
    pub fn in_release(release: &str, runtime: &str) -> Self {
        let nest = Nest::in_release(release, &Cgroups::V1);
        if runtime != "runc" {
            // The default, which would run if the option were not read.
            nest.mount(&["--bind", "/bin/false", "/usr/sbin/runc"]);
        }
        if runtime == "youki" {
            // Of an app that has PID 2 in the pod, youki reads the node's /proc/2, on cgroups of version 1. A
            // machine's low PIDs are kernel threads; a nest has none.
            let script = "echo 1 >/proc/sys/kernel/ns_last_pid
                for _ in {2..99}; do sleep infinity & done
                exec sleep infinity";
            let mut sleepers = nest.daemon("bash");
            sleepers.args(["-c", script]);
            let mut ready = Command::new("test");
            ready.arg("-e").arg(nest.proc().join("99"));
            nest.start_daemon("sleepers", sleepers, ready);
        }
        Self::start_in(nest, "/usr/bin".into(), runtime, IMAGE)
    }

    fn start_in(nest: Nest, commands: PathBuf, runtime: &str, sandbox: &str) -> Self {
        // The CRI plugin requires a pod network; no test depends on it.
        let network = json!({
            "cniVersion": "0.4.0", "name": "pods", "plugins": [{
                "type": "bridge", "bridge": "pods",
                "ipam": {"type": "host-local", "subnet": "10.99.0.0/24", "dataDir": nest.path("ipam")},
            }],
        });
        fs::create_dir(nest.path("cni")).unwrap();
        fs::write(nest.path("cni/pods.conflist"), network.to_string()).unwrap();
        let config = CONFIG.replace("FOLDER", &nest.path(""));
        let config = config
            .replace("RUNTIME", runtime)
            .replace("SANDBOX", sandbox);
        fs::write(nest.path("config.toml"), config).unwrap();

        let socket = nest.path("containerd.sock");
        let containerd = Self::of(nest, commands, socket);
        let nest = &containerd.nest;
        let mut daemon = nest.daemon(containerd.commands.join("containerd").to_str().unwrap());
        for (option, path) in [
            ("--config", "config.toml"),
            ("--root", "root"),
            ("--state", "state"),
            ("--address", "containerd.sock"),
        ] {
            daemon.args([option, &nest.path(path)]);
        }
        // It looks for its shims and the runtime in PATH.
        let others = std::env::var("PATH").unwrap();
        let path = format!("{}:{others}:/usr/sbin", containerd.commands.display());
        daemon.env("PATH", path);
        let mut ready = containerd.command();
        ready.arg("version");
        nest.start_daemon("containerd", daemon, ready);
        containerd
    }

    /// A containerd that the caller starts in `nest`.
    pub(crate) fn of(nest: Nest, commands: PathBuf, socket: String) -> Self {
        Self {
            cri: Client::of(&nest.root(&socket)),
            nest,
            commands,
            socket,
        }
    }

    fn command(&self) -> Command {
        let ctr = self.commands.join("ctr");
        let mut ctr = self.nest.command(ctr.to_str().unwrap());
        ctr.args(["--address", &self.socket]);
        ctr
    }

    /// Runs ctr, which must succeed.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        output(self.command().args(arguments))
    }

    /// Imports [`IMAGE`] as kind does on a node, and [`APP_IMAGE`](super::APP_IMAGE).
    pub fn import(&self) -> String {
        let import = ["--namespace=k8s.io", "images", "import"];
        output(self.command().args(import).arg(app_archive(&self.nest)));
        let mut ctr = self.command();
        ctr.args(import).args(["--all-platforms", "--digests"]);
        ctr.args(["--snapshotter=overlayfs", "-"]);
        ctr.stdin(fs::File::open(archive()).unwrap());
        output(&mut ctr)
    }
}
