//! podman, and its pods from manifests of Kubernetes.

use super::{APP_IMAGE, Cgroups, Cli, IMAGE, Nest, app_archive, archive, example_pod};
use crate::{
    program::{Platform, Program},
    story::{APP, Engine, LISTENER},
    text, wait_until,
};
use nix::unistd::Pid;
use serde_json::json;
use std::{cell::RefCell, fs, os::unix::fs::chown, process::Command};

/// podman, without any configuration or storage of the machine's.
pub struct Podman {
    nest: Nest,
    driver: &'static str,
    platform: &'static Platform,
    /// How the pod is made, beside its image.
    options: &'static [&'static str],
    user: u32,
    runtime: &'static str,
    rootless: bool,
    infra: RefCell<String>,
}

impl Podman {
    /// podman, with [`IMAGE`] from the archive and with [`APP_IMAGE`].
    pub fn with_images() -> Self {
        Self::with("overlay")
    }

    /// podman with [`APP_IMAGE`] alone.
    pub fn with_app() -> Self {
        Self::start(Nest::new(), "overlay", Platform::native())
    }

    /// podman with both images, and another way to keep files, as overlay is not in every kernel.
    pub fn with(driver: &'static str) -> Self {
        Self::start(Nest::new(), driver, Platform::native()).load()
    }

    /// The same on crun, which runs where version 1 of cgroups is not in sight.
    pub fn with_crun() -> Self {
        let podman = Self {
            runtime: "crun",
            ..Self::start(Nest::with_cgroup2(), "overlay", Platform::native())
        };
        podman.load()
    }

    fn load(self) -> Self {
        let loaded = self.run(&["load", "--input", archive().to_str().unwrap()]);
        assert!(loaded.contains(IMAGE), "{loaded}");
        self
    }

    /// The same, with the archive's image for that platform, which the nest has an emulator for.
    pub fn with_foreign_image(platform: &'static Platform) -> Self {
        let podman = Self::start(Nest::with_emulator(platform), "overlay", platform);
        let image = format!("oci-archive:{}", archive().display());
        podman.run(&[&["pull"], &*platform.options(), &[&image]].concat());
        podman
    }

    /// The same as [`Self::with_images`], whose pod has a user namespace of its own.
    pub fn with_users_of_its_own() -> Self {
        Self {
            options: &["--uidmap=0:100000:65536"],
            user: 100_000,
            ..Self::with_images()
        }
    }

    fn start(nest: Nest, driver: &'static str, platform: &'static Platform) -> Self {
        Self::new(nest, driver, platform).load_app()
    }

    fn new(nest: Nest, driver: &'static str, platform: &'static Platform) -> Self {
        fs::write(
            nest.path("containers.conf"),
            // Limits that every root may set, and every cgroup can.
            format!(
                "[containers]\n\
                 pids_limit = 0\n\
                 default_ulimits = [\"nofile=20000:20000\", \"nproc=30000:30000\"]\n\
                 [engine]\n\
                 events_logger = \"file\"\n\
                 infra_image = {IMAGE:?}\n"
            ),
        )
        .unwrap();
        Self {
            nest,
            driver,
            platform,
            options: &[],
            user: 0,
            runtime: "runc",
            rootless: false,
            infra: RefCell::default(),
        }
    }

    fn load_app(self) -> Self {
        self.run(&["load", "--input", &app_archive(&self.nest)]);
        self
    }

    /// That of another release on that runtime, of root or of somebody else, with both images.
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
            ..Self::new(nest, "overlay", Platform::native())
        };
        podman.load_app().load()
    }

    /// The option that has all cgroups in one that goes with the nest. Who is not root may not choose.
    pub fn cgroup(&self) -> Option<String> {
        (!self.rootless).then(|| format!("--cgroup-parent=/{}", self.nest.cgroup()))
    }

    /// Makes the pod, with another sandbox than ours or with none of these: the sandbox's process.
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

    /// Runs a command with the option for cgroups, where there is one, before the others.
    fn run_in_cgroup(&self, command: &[&str], options: &[&str]) {
        let cgroup = self.cgroup();
        let cgroup: Vec<&str> = cgroup.as_deref().into_iter().collect();
        self.run(&[command, &cgroup, options].concat());
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

    /// Whatever the image says, it is root.
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
        // Where SIGTERM does nothing, podman waits for this long, kills, and says so. (The apps are
        // shells, and the first process of nothing: they need no time.)
        let mut stop = self.command();
        let stop = stop
            .args(["stop", "--time=20", &self.infra.borrow()])
            .output();
        let stop = stop.unwrap();
        assert!(stop.status.success(), "{stop:?}");
        let said = String::from_utf8_lossy(&stop.stderr).into_owned();
        assert!(!said.contains("SIGKILL"), "{said}");
    }

    fn sandbox_end(&self) -> Option<(i32, String)> {
        Some(self.end_of(&self.infra.borrow()))
    }

    fn remove_pod(&self) -> String {
        // The clean-up after the stop, which conmon starts, may still have memory of the pod mounted.
        wait_until("removed", || {
            let remove = ["pod", "rm", "--force", "--time=0", "--ignore", "pod"];
            let removed = self.command().args(remove).output().unwrap();
            println!("{}", text(removed.stderr));
            removed.status.success()
        });
        self.run(&["ps", "--all", "--quiet"])
    }
}

/// podman with a pod from a manifest of Kubernetes.
pub struct KubePlay(Podman);

impl KubePlay {
    /// podman on runc with both images.
    pub fn with_images() -> Self {
        Self::of(Podman::with_images())
    }

    /// That of another release, on crun.
    pub fn in_release(release: &str) -> Self {
        Self::of(Podman::in_release(release, "crun", false))
    }

    fn of(podman: Podman) -> Self {
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

    /// The manifest has it.
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
        self.0.run(&["ps", "--all", "--quiet"])
    }
}
