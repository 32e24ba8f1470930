//! docker's daemon in a nest.

use super::{APP_IMAGE, Cgroups, Cli, IMAGE, Nest, example};
use crate::{
    output,
    story::{APP, Engine, LISTENER},
};
use nix::unistd::Pid;
use serde_json::json;
use std::{fs, process::Command};

/// docker's daemon, isolated from the machine's. A pod here is a set of containers that share the
/// namespaces of one, the sandbox.
pub struct Docker {
    nest: Nest,
    /// Whether docker-compose creates the pod.
    composes: bool,
}

impl Docker {
    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        Self::start_in(Nest::new(), "{}")
    }

    /// Starts another Debian release's docker, with its classic image store or with containerd's.
    pub fn in_release(release: &str, in_containerd: bool) -> Self {
        let config = json!({
            "features": {"containerd-snapshotter": in_containerd},
            "runtimes": {
                "runsc": {
                    "path": "/usr/bin/runsc",
                    "runtimeArgs": ["--ignore-cgroups", "--network=none", "--platform=systrap"],
                },
                "youki": {"path": "youki"},
            },
        });
        Self::start_in(Nest::in_release(release, &Cgroups::V1), &config.to_string())
    }

    /// The same, with the pod of examples/compose.yaml.
    pub fn composing(self) -> Self {
        Self {
            composes: true,
            ..self
        }
    }

    pub(crate) fn start_in(nest: Nest, config: &str) -> Self {
        let docker = Self {
            nest,
            composes: false,
        };
        let nest = &docker.nest;
        // Its containerd creates directories in /opt, whatever its configuration says.
        nest.overlay("/opt");
        fs::write(nest.path("config-file"), config).unwrap();
        let mut daemon = nest.daemon("dockerd");
        for option in ["data-root", "exec-root", "pidfile", "config-file"] {
            daemon.arg(format!("--{option}={}", nest.path(option)));
        }
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
        format!("unix://{}", self.nest.path("docker.sock"))
    }

    /// Starts an app in the sandbox's namespaces. docker-compose has started it with the sandbox.
    fn start_container(&self, name: &str, script: &str) {
        if self.composes {
            return;
        }
        let sandbox = ["--network=container:infra", "--pid=container:infra"];
        let run = ["run", "--detach", "--name", name];
        self.run(&[&run[..], &sandbox, &[APP_IMAGE, "sh", "-c", script]].concat());
    }

    /// Runs docker-compose for examples/compose.yaml with two apps.
    fn compose(&self, arguments: &[&str]) {
        let [app, listener] = [APP, LISTENER].map(|script| script.replace('$', "$$"));
        let apps = [("app", &*app), ("listener", &*listener)];
        let first = "  NAME:\n    container_name: NAME\n";
        let yaml = example("compose.yaml", "  app:\n", first, "sleep 1000", &apps);
        let yaml = yaml.replace("  infra:\n", "  infra:\n    container_name: infra\n");
        let path = self.nest.path("compose.yaml");
        fs::write(&path, yaml).unwrap();
        let mut compose = self.command_of("docker-compose");
        compose.args(["--file", &path, "--project-name=pod"]);
        output(compose.args(arguments));
    }
}

impl Cli for Docker {
    const NAME: &str = "docker";

    fn configure(&self, mut command: Command) -> Command {
        command.env("DOCKER_CONFIG", self.nest.path("client"));
        command.env("DOCKER_HOST", self.socket());
        command
    }
}

impl Engine for Docker {
    fn nest(&self) -> &Nest {
        &self.nest
    }

    fn create_pod(&self) -> Pid {
        self.load_images();
        if self.composes {
            self.compose(&["up", "--detach", "--no-build"]);
        } else {
            let infra = ["--name=infra", "--network=none", "--ipc=shareable", IMAGE];
            self.run(&[&["run", "--detach"][..], &infra].concat());
        }
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
        if self.composes {
            self.compose(&["down", "--timeout=1"]);
        } else {
            self.run(&["rm", "--force", "app", "listener", "infra"]);
        }
        self.containers()
    }
}
