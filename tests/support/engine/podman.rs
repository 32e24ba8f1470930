//! podman in a nest, and its pods from Kubernetes manifests.

use super::{APP_IMAGE, Cgroups, Cli, IMAGE, Nest, app_archive, archive, example_pod};
use crate::{
    program::{Platform, Program, TERMINATED},
    project,
    sandbox::{self, End, Processes},
    story::{APP, Engine, LISTENER},
    text, wait_until,
};
use nix::unistd::Pid;
use serde_json::json;
use std::{cell::RefCell, fs, os::unix::fs::chown, path::Path, process::Command};

/// podman, isolated from the machine's configuration and storage.
pub struct Podman {
    nest: Nest,
    driver: &'static str,
    platform: &'static Platform,
    /// Further options of `podman pod create`.
    options: &'static [&'static str],
    user: u32,
    runtime: &'static str,
    rootless: bool,
    infra: RefCell<String>,
}

impl Podman {
    /// podman with [`IMAGE`] from the archive and with [`APP_IMAGE`].
    pub fn with_images() -> Self {
        Self::with("overlay")
    }

    /// podman with [`APP_IMAGE`] only.
    pub fn with_app() -> Self {
        Self::new(Nest::new()).load_app()
    }

    /// podman with both images and another storage driver than overlay, which not every kernel has.
    pub fn with(driver: &'static str) -> Self {
        let podman = Self {
            driver,
            ..Self::new(Nest::new())
        };
        podman.load_images()
    }

    /// podman on crun, with both images. crun runs on cgroup v2 here: it fails where it sees v1 and v2.
    pub fn with_crun() -> Self {
        let podman = Self {
            runtime: "crun",
            ..Self::new(Nest::with_cgroup2())
        };
        podman.load_images()
    }

    /// podman with the archive's image for a platform that this machine emulates.
    pub fn with_foreign_image(platform: &'static Platform) -> Self {
        let podman = Self {
            platform,
            ..Self::new(Nest::with_emulator(platform))
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

    fn new(nest: Nest) -> Self {
        // Limits that every root may set and every cgroup supports.
        let config = format!(
            "[containers]\n\
             pids_limit = 0\n\
             default_ulimits = [\"nofile=20000:20000\", \"nproc=30000:30000\"]\n\
             [engine]\n\
             events_logger = \"file\"\n\
             infra_image = {IMAGE:?}\n"
        );
        fs::write(nest.path("containers.conf"), config).unwrap();
        Self {
            nest,
            driver: "overlay",
            platform: Platform::native(),
            options: &[],
            user: 0,
            runtime: "runc",
            rootless: false,
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
    pub fn in_release(release: &str, runtime: &'static str, rootless: bool) -> Self {
        let nest = Nest::in_release(release, Cgroups::V2);
        let user = if rootless { 1000 } else { 0 };
        for folder in ["home", "xdg"] {
            fs::create_dir(nest.path(folder)).unwrap();
            chown(nest.path(folder), Some(user), Some(user)).unwrap();
        }
        chown(nest.folder.path(), Some(user), Some(user)).unwrap();
        let podman = Self {
            runtime,
            rootless,
            user,
            ..Self::new(nest)
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

    /// Runs [`IMAGE`] under image/seccomp.json: it sleeps, and leaves on SIGTERM.
    pub fn expect_pause_under_seccomp(&self, options: &[&str]) {
        self.run_with_seccomp(&project().join("image/seccomp.json"), options);
        let processes = Processes(self.nest.proc());
        let pid = self.pid("pause");
        processes.wait_until_asleep(pid);
        assert_eq!(processes.status(pid, "Seccomp"), "2");
        self.run(&["stop", "--time=20", "pause"]);
        assert_eq!(self.end_of("pause"), (0, TERMINATED.to_owned()));
        self.run(&["rm", "pause"]);
    }

    fn find_infra(&self) -> Pid {
        let infra = self.run(&["pod", "inspect", "--format={{.InfraContainerID}}", "pod"]);
        let pid = self.pid(&infra);
        self.infra.replace(infra);
        pid
    }
}

impl Cli for Podman {
    fn command(&self) -> Command {
        let mut podman = match self.rootless {
            true => self.nest.command("setpriv"),
            false => self.nest.command("podman"),
        };
        if self.rootless {
            podman.args(["--reuid=1000", "--regid=1000", "--clear-groups", "podman"]);
            podman
                .env("HOME", self.nest.path("home"))
                .env("XDG_RUNTIME_DIR", self.nest.path("xdg"));
        }
        podman.env("CONTAINERS_CONF", self.nest.path("containers.conf"));
        for (option, folder) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            podman.args([option, &self.nest.path(folder)]);
        }
        podman.args(["--storage-driver", self.driver]);
        podman.args(["--cgroup-manager=cgroupfs", "--runtime", self.runtime]);
        podman
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
        self.create_pod_with(&[self.options, &["--infra-image", IMAGE]].concat())
    }

    fn start_app(&self, script: &str) {
        self.run_container(&["--pod=pod"], script);
    }

    fn run_app(&self, script: &str, again: bool) -> (i32, String) {
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

/// podman with a pod from a Kubernetes manifest.
pub struct KubePlay(Podman);

impl KubePlay {
    /// A podman with both images.
    pub fn of(podman: Podman) -> Self {
        podman.nest.shares_cgroup("libpod_parent");
        Self(podman)
    }

    fn manifest(&self) -> String {
        let mut pod = example_pod(&[("listener", LISTENER), ("app", APP)]);
        pod["spec"]["restartPolicy"] = json!("Never");
        // JSON is YAML.
        let path = self.0.nest.path("pod.yaml");
        fs::write(&path, pod.to_string()).unwrap();
        path
    }
}

impl Engine for KubePlay {
    fn nest(&self) -> &Nest {
        &self.0.nest
    }

    fn user(&self) -> u32 {
        self.0.user()
    }

    fn create_pod(&self) -> Pid {
        self.0
            .run(&["kube", "play", "--network=none", &self.manifest()]);
        self.0.find_infra()
    }

    /// Does nothing: the manifest lists it.
    fn start_app(&self, _script: &str) {}

    fn run_app(&self, _script: &str, again: bool) -> (i32, String) {
        self.0.finish("pod-app", again)
    }

    fn stop_pod(&self) {
        self.0.stop_pod();
    }

    fn sandbox_end(&self) -> Option<(i32, String)> {
        self.0.sandbox_end()
    }

    fn remove_pod(&self) -> String {
        self.0.run(&["kube", "down", &self.manifest()]);
        self.0.containers()
    }
}
