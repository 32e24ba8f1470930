//! docker's daemon in a nest, and pods from docker-compose files.

use super::{APP_IMAGE, Cgroups, Cli, IMAGE, Nest, app_archive, archive, example};
use crate::{
    output,
    story::{APP, Engine, LISTENER},
};
use nix::unistd::Pid;
use serde_json::json;
use std::{fs, process::Command};

/// docker's daemon, isolated from the machine's. A pod here is a set of containers that share the
/// namespaces of one, the sandbox.
pub struct Docker(Nest);

impl Docker {
    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        Self::start_in(Nest::new(), "{}")
    }

    /// Starts another Debian release's docker, with its classic image store or with containerd's.
    pub fn in_release(release: &str, in_containerd: bool) -> Self {
        let store = json!({
            "features": {"containerd-snapshotter": in_containerd},
            "runtimes": {"runsc": {
                "path": "/usr/bin/runsc",
                "runtimeArgs": ["--ignore-cgroups", "--network=none", "--platform=systrap"],
            }},
        });
        Self::start_in(Nest::in_release(release, Cgroups::All), &store.to_string())
    }

    pub(crate) fn start_in(nest: Nest, config: &str) -> Self {
        let docker = Self(nest);
        let nest = &docker.0;
        // Its containerd makes folders in /opt, whatever its configuration says.
        let [upper, work] = ["opt", "opt-work"].map(|folder| {
            fs::create_dir(nest.path(folder)).unwrap();
            nest.path(folder)
        });
        let layers = format!("--options=lowerdir=/opt,upperdir={upper},workdir={work}");
        nest.mount(&["--types=overlay", &layers, "overlay", "/opt"]);
        let mut daemon = nest.daemon("dockerd");
        for (option, path) in [
            ("--data-root", "root"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
            ("--config-file", "daemon.json"),
        ] {
            daemon.args([option, &nest.path(path)]);
        }
        fs::write(nest.path("daemon.json"), config).unwrap();
        daemon.args(["--host", &docker.socket()]);
        daemon.args(["--cgroup-parent", &format!("/{}", nest.cgroup())]);
        daemon.arg("--exec-opt=native.cgroupdriver=cgroupfs");
        daemon.arg("--default-ulimit=nofile=20000:20000");
        daemon.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        let mut ready = docker.command();
        ready.arg("version");
        nest.start_daemon("dockerd", daemon, ready);
        docker
    }

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.0.path("docker.sock"))
    }

    /// Loads both images.
    pub fn load_images(&self) {
        self.load(archive().to_str().unwrap());
        self.load_app();
    }

    /// Loads [`APP_IMAGE`].
    pub fn load_app(&self) {
        self.load(&app_archive(&self.0));
    }

    /// Starts an app in the sandbox's namespaces.
    fn start_container(&self, name: &str, script: &str) {
        let sandbox = ["--network=container:infra", "--pid=container:infra"];
        let run = ["run", "--detach", "--name", name];
        self.run(&[&run[..], &sandbox, &[APP_IMAGE, "sh", "-c", script]].concat());
    }
}

impl Cli for Docker {
    fn command(&self) -> Command {
        let mut docker = self.0.command("docker");
        docker.args(["--config", &self.0.path("client"), "--host", &self.socket()]);
        docker
    }
}

impl Engine for Docker {
    fn nest(&self) -> &Nest {
        &self.0
    }

    fn create_pod(&self) -> Pid {
        self.load_images();
        let infra = ["--name=infra", "--network=none", "--ipc=shareable", IMAGE];
        self.run(&[&["run", "--detach"][..], &infra].concat());
        self.pid("infra")
    }

    fn start_app(&self, script: &str) {
        self.start_container("listener", script);
    }

    fn run_app(&self, script: &str, again: bool) -> (i32, String) {
        if !again {
            self.start_container("app", script);
        }
        self.finish("app", again)
    }

    fn stop_pod(&self) {
        self.run(&["stop", "--time=20", "infra"]);
    }

    fn sandbox_end(&self) -> Option<(i32, String)> {
        Some(self.end_of("infra"))
    }

    fn remove_pod(&self) -> String {
        self.run(&["rm", "--force", "app", "listener", "infra"]);
        self.containers()
    }
}

/// docker, with a pod from a docker-compose file.
pub struct Compose(pub Docker);

impl Compose {
    /// The docker-compose command for examples/compose.yaml with two apps.
    fn command(&self) -> Command {
        let mut file = example("compose.yaml");
        let services = &mut file["services"];
        assert_eq!(services["infra"]["image"], IMAGE);
        services["listener"] = services["app"].clone();
        for (name, script) in [("app", APP), ("listener", LISTENER)] {
            services[name]["image"] = json!(APP_IMAGE);
            services[name]["command"] = json!(["sh", "-c", script.replace('$', "$$")]);
        }
        for name in ["app", "listener", "infra"] {
            services[name]["container_name"] = json!(name);
        }
        let path = self.0.0.path("compose.yaml");
        // JSON is YAML.
        fs::write(&path, file.to_string()).unwrap();
        let mut compose = self.0.0.command("docker-compose");
        compose.env("DOCKER_HOST", self.0.socket());
        compose.args(["--file", &path, "--project-name=pod"]);
        compose
    }
}

impl Engine for Compose {
    fn nest(&self) -> &Nest {
        self.0.nest()
    }

    fn create_pod(&self) -> Pid {
        self.0.load_images();
        output(self.command().args(["up", "--detach", "--no-build"]));
        self.0.pid("infra")
    }

    /// Does nothing: `docker-compose up` has started it.
    fn start_app(&self, _script: &str) {}

    fn run_app(&self, _script: &str, again: bool) -> (i32, String) {
        self.0.finish("app", again)
    }

    fn stop_pod(&self) {
        self.0.stop_pod();
    }

    fn sandbox_end(&self) -> Option<(i32, String)> {
        self.0.sandbox_end()
    }

    fn remove_pod(&self) -> String {
        output(self.command().args(["down", "--timeout=1"]));
        self.0.containers()
    }
}
