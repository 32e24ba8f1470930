//! containerd, with nothing of the machine's.

use super::{Cgroups, IMAGE, Nest, app_archive, archive};
use crate::{built, output};
use serde_json::json;
use std::{fs, path::PathBuf, process::Command};

/// containerd, with nothing of the machine's.
pub struct Containerd {
    nest: Nest,
    /// Where its commands are.
    pub(crate) commands: PathBuf,
    /// Where it listens.
    socket: String,
}

/// What a node's containerd is configured with, as containerd 1.x reads it. Not all that is asked for
/// otherwise can be had everywhere.
const CRI_OF_1: &str = "
version = 2
[plugins.\"io.containerd.internal.v1.opt\"]
path = \"FOLDER/opt\"
[plugins.\"io.containerd.grpc.v1.cri\"]
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

/// The same, as containerd 2.x reads it.
const CRI_OF_2: &str = "
version = 3
[plugins.'io.containerd.internal.v1.opt']
path = 'FOLDER/opt'
[plugins.'io.containerd.grpc.v1.cri']
stream_server_address = '127.0.0.1'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/usr/lib/cni']
conf_dir = 'FOLDER/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = 'RUNTIME'
";

impl Containerd {
    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        Self::start_with("/usr/bin".into(), CRI_OF_1)
    }

    /// The same, with another image for the sandbox of a pod.
    pub fn start_with_sandbox(image: &str) -> Self {
        Self::start_in(
            Nest::new(),
            "/usr/bin".into(),
            &CRI_OF_1.replace("RUNTIME", "/usr/sbin/runc"),
            image,
        )
    }

    /// The same with a containerd 2.x that `make` fetches.
    pub fn start_2() -> Self {
        Self::start_with(built("containerd-2"), CRI_OF_2)
    }

    /// That of another release, on runc or crun.
    pub fn in_release(release: &str, runtime: &str) -> Self {
        let (config, path, cgroups) = match (release, runtime) {
            ("trixie", "runc") => (CRI_OF_1, "/usr/sbin/runc", Cgroups::All),
            ("trixie", _) => (CRI_OF_1, "/usr/bin/crun", Cgroups::V1),
            (_, "runc") => (CRI_OF_2, "/usr/sbin/runc", Cgroups::All),
            _ => (CRI_OF_2, "/usr/bin/crun", Cgroups::V1),
        };
        let nest = Nest::in_release(release, cgroups);
        let config = config.replace("RUNTIME", path);
        Self::start_in(nest, "/usr/bin".into(), &config, IMAGE)
    }

    /// Starts the one in that folder, configured so.
    fn start_with(commands: PathBuf, config: &str) -> Self {
        let config = config.replace("RUNTIME", "/usr/sbin/runc");
        Self::start_in(Nest::new(), commands, &config, IMAGE)
    }

    /// Starts it with that image for the sandbox of a pod.
    fn start_in(nest: Nest, commands: PathBuf, config: &str, sandbox: &str) -> Self {
        // A network of the pods' own, on which nothing depends.
        let network = json!({
            "cniVersion": "0.4.0", "name": "pods", "plugins": [{
                "type": "bridge", "bridge": "pods",
                "ipam": {"type": "host-local", "subnet": "10.99.0.0/24", "dataDir": nest.path("ipam")},
            }],
        });
        fs::create_dir(nest.path("cni")).unwrap();
        fs::write(nest.path("cni/pods.conflist"), network.to_string()).unwrap();
        let config = config.replace("FOLDER", nest.folder.path().to_str().unwrap());
        let config = use_pause::containerd::configured(&config, sandbox).unwrap();
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
        // Where it finds its own shims.
        let others = std::env::var("PATH").unwrap();
        daemon.env(
            "PATH",
            format!("{}:{others}", containerd.commands.display()),
        );
        let mut ready = containerd.command();
        ready.arg("version");
        nest.start_daemon("containerd", daemon, ready);
        containerd
    }

    /// One that somebody starts in that nest, with its commands and its socket.
    pub(crate) fn of(nest: Nest, commands: PathBuf, socket: String) -> Self {
        Self {
            nest,
            commands,
            socket,
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> String {
        self.socket.clone()
    }

    /// Where it runs.
    pub fn nest(&self) -> &Nest {
        &self.nest
    }

    fn command(&self) -> Command {
        let mut ctr = self
            .nest
            .command(self.commands.join("ctr").to_str().unwrap());
        ctr.args(["--address", &self.socket()]);
        ctr
    }

    /// Runs ctr, which must succeed.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        output(self.command().args(arguments))
    }

    /// Imports [`IMAGE`] as kind does on a node, and [`APP_IMAGE`](super::APP_IMAGE).
    pub fn import(&self) -> String {
        let import = ["--namespace=k8s.io", "images", "import"];
        self.ctr(&[&import[..], &[&app_archive(&self.nest)]].concat());
        let all = [
            "--all-platforms",
            "--digests",
            "--snapshotter=overlayfs",
            "-",
        ];
        let mut ctr = self.command();
        ctr.args([&import[..], &all].concat());
        ctr.stdin(fs::File::open(archive()).unwrap());
        output(&mut ctr)
    }
}
