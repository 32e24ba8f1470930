//! podman in a nest.

use super::{APP_IMAGE, Cgroups, Cli, IMAGE, Nest, RUNC, archive, example_pod};
use crate::{
    End, Processes, output,
    program::{Platform, Program, TERMINATED},
    project, sandbox,
    story::{APP, Engine, LISTENER},
    text, wait_until, write_script,
};
use nix::unistd::Pid;
use std::{fs, os::unix::fs::chown, process::Command};

/// podman, isolated from the machine's configuration and storage.
pub struct Podman {
    nest: Nest,
    platform: &'static Platform,
    /// More options of `podman pod create`.
    options: &'static [&'static str],
    /// The user that the sandbox runs as, seen from the nest.
    user: u32,
    /// Whether user 1000 runs podman.
    rootless: bool,
    /// Whether `podman kube play` creates the pod.
    plays: bool,
}

impl Podman {
    /// podman on runc, with [`IMAGE`] from the archive and with [`APP_IMAGE`].
    pub fn with_images() -> Self {
        let podman = Self::empty();
        podman.load_images();
        podman
    }

    /// podman on runc, without images.
    pub fn empty() -> Self {
        Self::new(Nest::new(), "runc")
    }

    /// podman on crun, with both images, whose pod has a user namespace of its own. crun runs on cgroup v2
    /// here: it fails if it sees v1 and v2.
    pub fn with_crun() -> Self {
        let podman = Self {
            options: &["--uidmap=0:1000:10000"],
            user: 1000,
            ..Self::new(Nest::with_cgroup2(), "crun")
        };
        podman.load_images();
        podman
    }

    /// podman with the archive's image for a platform that this machine emulates.
    pub fn with_foreign_image(platform: &'static Platform) -> Self {
        let podman = Self {
            platform,
            ..Self::new(Nest::with_emulator(platform), "runc")
        };
        let image = format!("oci-archive:{}", archive().display());
        podman.run(&[&["pull"], &*platform.options(), &[&image]].concat());
        podman.load_app();
        podman
    }

    /// Another Debian release's podman on a runtime, with both images, run by root or by user 1000.
    pub fn in_release(release: &str, runtime: &str, rootless: bool) -> Self {
        let nest = Nest::in_release(release, &Cgroups::V2);
        let user = if rootless { 1000 } else { 0 };
        for directory in ["home", "xdg", ""] {
            fs::create_dir_all(nest.path(directory)).unwrap();
            chown(nest.path(directory), Some(user), Some(user)).unwrap();
        }
        let podman = Self {
            rootless,
            user,
            ..Self::new(nest, runtime)
        };
        podman.load_images();
        podman
    }

    /// Another Debian release's podman for kind, without images.
    pub fn for_kind(release: &str) -> Self {
        let nest = Nest::in_release(release, &Cgroups::V1);
        // kind names no parent for the nodes' cgroups.
        nest.shares_cgroup("libpod_parent");
        // kind mounts it into the nodes.
        fs::create_dir_all(nest.root("/lib/modules")).unwrap();
        let runc = nest.path("runc");
        write_script(&runc, RUNC);
        Self::new(nest, &runc)
    }

    /// The same, with its pod from a Kubernetes manifest.
    pub fn playing(self) -> Self {
        self.nest.shares_cgroup("libpod_parent");
        Self {
            plays: true,
            ..self
        }
    }

    fn new(nest: Nest, runtime: &str) -> Self {
        let [root, run, tmp] = ["root", "run", "tmp"].map(|directory| nest.path(directory));
        // Limits that every root may set and every cgroup supports.
        let containers = format!(
            r#"
            [containers]
            pids_limit = 0
            default_ulimits = ["nofile=20000:20000", "nproc=30000:30000"]
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            infra_image = "{IMAGE}"
            runtime = "{runtime}"
            tmp_dir = "{tmp}"
            "#
        );
        fs::write(nest.path("containers.conf"), containers).unwrap();
        let storage =
            format!("[storage]\ndriver = 'overlay'\ngraphroot = '{root}'\nrunroot = '{run}'\n");
        fs::write(nest.path("storage.conf"), storage).unwrap();
        Self {
            nest,
            platform: Platform::native(),
            options: &[],
            user: 0,
            rootless: false,
            plays: false,
        }
    }

    /// Starts a container of [`APP_IMAGE`] in the pod.
    fn run_container(&self, options: &[&str], script: &str) {
        let app = ["--pod=pod", APP_IMAGE, "sh", "-c", script];
        self.run_in_cgroup(&["run", "--detach"], &[options, &app].concat());
    }

    /// Runs a command with its cgroups in one that ends with the nest. Only root may choose.
    fn run_in_cgroup(&self, command: &[&str], options: &[&str]) {
        let cgroup = format!("--cgroup-parent=/{}", self.nest.cgroup());
        let cgroup = if self.rootless { &[][..] } else { &[&*cgroup] };
        self.run(&[command, cgroup, options].concat());
    }

    /// Runs [`IMAGE`] under examples/seccomp.json: it sleeps after these steps, and exits on SIGTERM.
    pub fn expect_pause_under_seccomp(&self, options: &[&str], steps: &[&str]) {
        let profile = project().join("examples/seccomp.json");
        let seccomp = format!("--security-opt=seccomp={}", profile.display());
        let run = ["run", "--detach", "--name=pause", "--network=none"];
        self.run_in_cgroup(&run, &[&[&*seccomp], options, &[IMAGE]].concat());
        for step in steps {
            self.run(&["container", step, "pause"]);
        }
        let processes = Processes(self.nest.proc());
        let pid = self.pid("pause");
        processes.wait_until_asleep(pid);
        assert_eq!(processes.status(pid, "Seccomp"), "2");
        self.run(&["stop", "--time=20", "pause"]);
        assert_eq!(self.end_of("pause"), (0, TERMINATED.to_owned()));
        self.run(&["rm", "pause"]);
    }

    /// Runs `podman kube` with a manifest of the pod and its apps.
    fn kube(&self, command: &[&str]) {
        let path = self.nest.path("pod.yaml");
        let apps = [("listener", LISTENER), ("app", APP)];
        fs::write(&path, example_pod("pod", &["restartPolicy: Never"], &apps)).unwrap();
        self.run(&[&["kube"], command, &[&path]].concat());
    }

    /// The sandbox's container.
    fn infra(&self) -> String {
        self.run(&["pod", "inspect", "--format={{.InfraContainerID}}", "pod"])
    }
}

impl Cli for Podman {
    const NAME: &str = "podman";

    fn configure(&self, mut command: Command) -> Command {
        command.env("CONTAINERS_CONF", self.nest.path("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.nest.path("storage.conf"));
        command
    }

    fn command_of(&self, program: &str) -> Command {
        let mut command = self
            .nest
            .command(if self.rootless { "setpriv" } else { program });
        if self.rootless {
            command.args(["--reuid=1000", "--regid=1000", "--clear-groups", program]);
            command.env("HOME", self.nest.path("home"));
            command.env("XDG_RUNTIME_DIR", self.nest.path("xdg"));
        }
        self.configure(command)
    }
}

impl Engine for Podman {
    fn nest(&self) -> &Nest {
        &self.nest
    }

    /// podman runs the sandbox as root, whatever the image says.
    fn user(&self) -> u32 {
        self.user
    }

    fn program(&self) -> Program {
        Program::new("pause", self.platform.name)
    }

    fn create_pod(&self) -> Pid {
        if self.plays {
            self.kube(&["play", "--network=none"]);
        } else {
            let create = ["pod", "create", "--name=pod", "--network=none"];
            let infra = ["--share=ipc,net,uts,pid", "--infra-image", IMAGE];
            self.run_in_cgroup(&create, &[self.options, &infra].concat());
            self.run(&["pod", "start", "pod"]);
        }
        let pid = self.pid(&self.infra());
        // youki does not bring up the loopback, as runc and crun do.
        let net = format!("--net=/proc/{pid}/ns/net");
        let up = [&net, "ip", "link", "set", "lo", "up"];
        output(self.nest.command("nsenter").args(up));
        pid
    }

    fn start_app(&self, script: &str) {
        // The manifest lists it.
        if !self.plays {
            self.run_container(&[], script);
        }
    }

    fn run_app(&self, script: &str, again: bool) -> (i32, String) {
        if self.plays {
            return self.finish("pod-app", again);
        }
        if !again {
            self.run_container(&["--name=app"], script);
        }
        self.finish("app", again)
    }

    fn stop_pod(&self) {
        // If SIGTERM does nothing, podman kills the sandbox after 20 s, and prints that.
        let stop = ["stop", "--time=20", &self.infra()];
        let End { status, stderr, .. } = sandbox::run(self.command().args(stop));
        assert_eq!(status, Ok(0), "{stderr}");
        assert!(!stderr.contains("SIGKILL"), "{stderr}");
    }

    fn sandbox_end(&self) -> Option<(i32, String)> {
        Some(self.end_of(&self.infra()))
    }

    fn remove_pod(&self) -> String {
        if self.plays {
            self.kube(&["down"]);
            return self.containers();
        }
        // The clean-up that conmon starts after the stop may still have the pod's /dev/shm mounted.
        wait_until("the pod is removed", || {
            let remove = ["pod", "rm", "--force", "--time=0", "--ignore", "pod"];
            let removed = self.command().args(remove).output().unwrap();
            println!("{}", text(removed.stderr));
            removed.status.success()
        });
        self.containers()
    }
}
