//! podman in a nest.

use super::{APP_IMAGE, Cgroups, Cli, IMAGE, Nest, app_archive, archive, example_pod};
use crate::{
    End, Processes,
    program::{Platform, Program, TERMINATED},
    project, sandbox,
    story::{APP, Engine, LISTENER},
    text, wait_until,
};
use nix::unistd::Pid;
use serde_json::json;
use std::{cell::RefCell, fs, os::unix::fs::chown, path::Path, process::Command};

/// podman, isolated from the machine's configuration and storage.
pub struct Podman {
    nest: Nest,
    platform: &'static Platform,
    /// Further options of `podman pod create`.
    options: &'static [&'static str],
    user: u32,
    rootless: bool,
    /// Whether `podman kube play` makes the pod.
    plays: bool,
    infra: RefCell<String>,
}

impl Podman {
    /// podman with [`IMAGE`] from the archive and with [`APP_IMAGE`].
    pub fn with_images() -> Self {
        Self::new(Nest::new(), "runc").load_images()
    }

    /// podman with [`APP_IMAGE`] only.
    pub fn with_app() -> Self {
        Self::new(Nest::new(), "runc").load_app()
    }

    /// podman on crun, with both images. crun runs on cgroup v2 here: it fails where it sees v1 and v2.
    pub fn with_crun() -> Self {
        Self::new(Nest::with_cgroup2(), "crun").load_images()
    }

    /// podman with the archive's image for a platform that this machine emulates.
    pub fn with_foreign_image(platform: &'static Platform) -> Self {
        let podman = Self {
            platform,
            ..Self::new(Nest::with_emulator(platform), "runc")
        };
        let image = format!("oci-archive:{}", archive().display());
        podman.run(&[&["pull"], &*platform.options(), &[&image]].concat());
        podman.load_app()
    }

    /// podman with both images, whose pod has a user namespace of its own.
    pub fn with_users_of_its_own() -> Self {
        Self {
            options: &["--uidmap=0:100000:65536"],
            user: 100_000,
            ..Self::with_images()
        }
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
        let [root, run, tmp] = ["root", "run", "tmp"].map(|folder| nest.path(folder));
        // Limits that every root may set and every cgroup supports.
        let config = format!(
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
        fs::write(nest.path("containers.conf"), config).unwrap();
        let storage = format!(
            r#"
            [storage]
            driver = "overlay"
            graphroot = "{root}"
            runroot = "{run}"
            "#
        );
        fs::write(nest.path("storage.conf"), storage).unwrap();
        Self {
            nest,
            platform: Platform::native(),
            options: &[],
            user: 0,
            rootless: false,
            plays: false,
            infra: RefCell::default(),
        }
    }

    fn load_images(self) -> Self {
        let loaded = self.load(archive().to_str().unwrap());
        assert!(loaded.contains(IMAGE), "{loaded}");
        self.load_app()
    }

    fn load_app(self) -> Self {
        self.load(&app_archive(&self.nest));
        self
    }

    /// Another Debian release's podman on a runtime, with both images, as root or as user 1000.
    pub fn in_release(release: &str, runtime: &str, rootless: bool) -> Self {
        let nest = Nest::in_release(release, &Cgroups::V2);
        let user = if rootless { 1000 } else { 0 };
        for folder in ["home", "xdg"] {
            fs::create_dir(nest.path(folder)).unwrap();
            chown(nest.path(folder), Some(user), Some(user)).unwrap();
        }
        chown(nest.folder.path(), Some(user), Some(user)).unwrap();
        let podman = Self {
            rootless,
            user,
            ..Self::new(nest, runtime)
        };
        podman.load_images()
    }

    /// Creates and starts the pod with further options, and returns its sandbox's process.
    pub fn create_pod_with(&self, infra: &[&str]) -> Pid {
        let create = ["pod", "create", "--name=pod", "--network=none"];
        let share = ["--share=ipc,net,uts,pid"];
        self.run_in_cgroup(&create, &[&share, infra].concat());
        self.run(&["pod", "start", "pod"]);
        self.find_infra()
    }

    /// Starts a container of [`APP_IMAGE`].
    fn run_container(&self, options: &[&str], script: &str) {
        let app = [APP_IMAGE, "sh", "-c", script];
        self.run_in_cgroup(&["run", "--detach"], &[options, &app].concat());
    }

    /// Runs a command with its cgroups in one that goes with the nest. Only root may choose.
    fn run_in_cgroup(&self, command: &[&str], options: &[&str]) {
        let cgroup = format!("--cgroup-parent=/{}", self.nest.cgroup());
        let cgroup = if self.rootless { &[][..] } else { &[&*cgroup] };
        self.run(&[command, cgroup, options].concat());
    }

    /// Starts a container of [`IMAGE`] named pause under a seccomp profile, with further options.
    pub fn run_with_seccomp(&self, profile: &Path, options: &[&str]) {
        let seccomp = format!("--security-opt=seccomp={}", profile.display());
        let run = ["run", "--detach", "--name=pause", "--network=none"];
        self.run_in_cgroup(&run, &[&[&*seccomp], options, &[IMAGE]].concat());
    }

    /// Runs [`IMAGE`] under examples/seccomp.json: it sleeps, and leaves on SIGTERM.
    pub fn expect_pause_under_seccomp(&self, options: &[&str]) {
        self.run_with_seccomp(&project().join("examples/seccomp.json"), options);
        let processes = Processes(self.nest.proc());
        let pid = self.pid("pause");
        processes.wait_until_asleep(pid);
        assert_eq!(processes.status(pid, "Seccomp"), "2");
        self.run(&["stop", "--time=20", "pause"]);
        assert_eq!(self.end_of("pause"), (0, TERMINATED.to_owned()));
        self.run(&["rm", "pause"]);
    }

    /// Writes a manifest of the pod with its apps, and returns its path.
    fn manifest(&self) -> String {
        let mut pod = example_pod(&[("listener", LISTENER), ("app", APP)]);
        pod["spec"]["restartPolicy"] = json!("Never");
        // JSON is YAML.
        let path = self.nest.path("pod.yaml");
        fs::write(&path, pod.to_string()).unwrap();
        path
    }

    fn find_infra(&self) -> Pid {
        let infra = self.run(&["pod", "inspect", "--format={{.InfraContainerID}}", "pod"]);
        let pid = self.pid(&infra);
        self.infra.replace(infra);
        pid
    }
}

impl Cli for Podman {
    const NAME: &str = "podman";

    fn command_of(&self, program: &str) -> Command {
        let mut command = self.nest.command(match self.rootless {
            true => "setpriv",
            false => program,
        });
        if self.rootless {
            command.args(["--reuid=1000", "--regid=1000", "--clear-groups", program]);
            command.env("HOME", self.nest.path("home"));
            command.env("XDG_RUNTIME_DIR", self.nest.path("xdg"));
        }
        command.env("CONTAINERS_CONF", self.nest.path("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.nest.path("storage.conf"));
        command
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
            self.run(&["kube", "play", "--network=none", &self.manifest()]);
            return self.find_infra();
        }
        self.create_pod_with(&[self.options, &["--infra-image", IMAGE]].concat())
    }

    fn start_app(&self, script: &str) {
        // The manifest lists it.
        if !self.plays {
            self.run_container(&["--pod=pod"], script);
        }
    }

    fn run_app(&self, script: &str, again: bool) -> (i32, String) {
        if self.plays {
            return self.finish("pod-app", again);
        }
        if !again {
            self.run_container(&["--pod=pod", "--name=app"], script);
        }
        self.finish("app", again)
    }

    fn stop_pod(&self) {
        // If SIGTERM does nothing, podman kills the sandbox after 20 s, and says so.
        let stop = ["stop", "--time=20", &self.infra.borrow()];
        let End { status, stderr, .. } = sandbox::run(self.command().args(stop));
        assert_eq!(status, Ok(0), "{stderr}");
        assert!(!stderr.contains("SIGKILL"), "{stderr}");
    }

    fn sandbox_end(&self) -> Option<(i32, String)> {
        Some(self.end_of(&self.infra.borrow()))
    }

    fn remove_pod(&self) -> String {
        if self.plays {
            self.run(&["kube", "down", &self.manifest()]);
            return self.containers();
        }
        // The clean-up that conmon starts after the stop may still have the pod's /dev/shm mounted.
        wait_until("removed", || {
            let remove = ["pod", "rm", "--force", "--time=0", "--ignore", "pod"];
            let removed = self.command().args(remove).output().unwrap();
            println!("{}", text(removed.stderr));
            removed.status.success()
        });
        self.containers()
    }
}
