//! kind, with a docker of its own, and nodes that have all that a cluster starts with.

use crate::{
    built,
    engine::{Cli, Docker, Nest},
    make, output,
    program::Program,
    project,
    sandbox::Processes,
    story::Engine,
    sysctl::Sysctls,
    text, write_script,
};
use nix::unistd::Pid;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
};

/// runc, without a capability that not every machine's root has, and that a privileged container would
/// be given.
const RUNC: &str = r#"#!/bin/bash
previous=
for word; do
  case $previous in
    --bundle) file=$word/config.json ;;
    --process | -p) file=$word ;;
    *) file= ;;
  esac
  [ -z "$file" ] || sed -i 's/,"CAP_SYS_RESOURCE"//g; s/"CAP_SYS_RESOURCE",//g' "$file"
  previous=$word
done
exec /usr/sbin/runc "$@"
"#;

/// kind of one version.
pub struct Kind {
    pub docker: Docker,
    folder: PathBuf,
    // Dropped after the nodes and what runs there.
    _sysctls: Sysctls,
}

/// A node of a cluster.
pub struct Node<'a> {
    kind: &'a Kind,
    pub name: String,
}

/// The sandbox of a pod, or an app's container: its id, and its process in the node.
#[derive(Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub pid: Pid,
}

impl Kind {
    /// The image of nodes.
    pub const IMAGE: &'static str = "node:test";

    /// That version, on nodes with the containerd in that folder, or the one that they have. `files` are
    /// the nodes' as well.
    pub fn start(version: &str, containerd: Option<&str>, files: &[(&str, &str)]) -> Self {
        let sysctls = Sysctls::remember();
        let nest = Nest::new();
        let runc = nest.path("runc");
        write_script(&runc, RUNC);
        let config = serde_json::json!({
            "runtimes": {"less": {"path": runc}}, "default-runtime": "less",
        });
        let docker = Docker::start_in(nest, &config.to_string());
        let kind = Self {
            docker,
            folder: built(&format!("kind-{version}")),
            _sysctls: sysctls,
        };
        kind.make_image(containerd, files);
        kind
    }

    fn make_image(&self, containerd: Option<&str>, files: &[(&str, &str)]) {
        let nest = self.docker.nest();
        let root = built("kind-node.tar");
        self.docker.run(&[
            "import",
            "--change=ENV container=docker",
            r#"--change=ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]"#,
            root.to_str().unwrap(),
            "node:base",
        ]);
        let context = nest.path("node");
        fs::create_dir_all(format!("{context}/usr/bin")).unwrap();
        for command in containerd
            .into_iter()
            .flat_map(|it| built(it).read_dir().unwrap())
        {
            let command = command.unwrap();
            let to = Path::new(&context)
                .join("usr/bin")
                .join(command.file_name());
            fs::copy(command.path(), to).unwrap();
        }
        for (path, content) in files {
            let path = Path::new(&context).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        // systemd ends by a signal of its own.
        let dockerfile = "FROM node:base\nSTOPSIGNAL SIGRTMIN+3\nCOPY usr /usr\nCOPY etc* /etc/\n";
        fs::create_dir_all(format!("{context}/etc")).unwrap();
        fs::write(format!("{context}/Dockerfile"), dockerfile).unwrap();
        self.docker
            .run(&["build", "--quiet", "--tag", Self::IMAGE, &context]);
    }

    /// A command that finds this kind and its docker, for ten minutes at most.
    pub fn command(&self, program: &str) -> Command {
        let nest = self.docker.nest();
        let mut command = nest.daemon("timeout");
        command.args(["--kill-after=5", "600", "env"]);
        let others = std::env::var("PATH").unwrap();
        command.arg(format!("PATH={}:{others}:/usr/sbin", self.folder.display()));
        command.arg(format!("DOCKER_HOST={}", self.docker.socket()));
        command.arg(format!("KUBECONFIG={}", nest.path("kubeconfig")));
        command.arg(program);
        command
    }

    /// kind, which must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        output(self.command("kind").args(arguments))
    }

    fn make_kind(&self, image: &str) -> Command {
        let mut make = make(self.command("make"));
        make.args([
            "--no-print-directory",
            "kind",
            &format!("KIND_IMAGE={image}"),
        ]);
        make
    }

    /// `make kind`, on nodes of that image: whether it succeeds, and what it says.
    pub fn make(&self, image: &str) -> (bool, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.make_kind(image).output().unwrap();
        (status.success(), text(stdout) + &text(stderr))
    }

    /// The same, that goes on.
    pub fn start_make(&self) -> Child {
        self.make_kind(Self::IMAGE).spawn().unwrap()
    }

    /// A node of that name.
    pub fn node(&self, name: &str) -> Node<'_> {
        Node {
            kind: self,
            name: name.to_owned(),
        }
    }
}

impl Node<'_> {
    /// Runs a command there, which must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.kind
            .docker
            .run(&[&["exec", &self.name], arguments].concat())
    }

    /// kubectl, on a node that has the rights.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let kubectl = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"];
        self.run(&[&kubectl, arguments].concat())
    }

    /// The same, given that on its standard input.
    pub fn apply(&self, yaml: &str) {
        let path = self.kind.docker.nest().path("applied.yaml");
        fs::write(&path, yaml).unwrap();
        let mut docker = self.kind.docker.command();
        let kubectl = [
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            "apply",
            "--filename=-",
        ];
        docker
            .args(["exec", "--interactive", &self.name])
            .args(kubectl);
        output(docker.stdin(fs::File::open(path).unwrap()));
    }

    /// Its processes.
    pub fn processes(&self) -> Processes {
        let pid = self.kind.docker.pid(&self.name);
        Processes(
            self.kind
                .docker
                .nest()
                .proc()
                .join(format!("{pid}/root/proc")),
        )
    }

    /// The running containers of that kind, "sandbox" or "container", whose labels are so: by ctr's own
    /// filter.
    pub fn containers(&self, kind: &str, labels: &[(&str, &str)]) -> Vec<Container> {
        let mut filter = format!("labels.\"io.cri-containerd.kind\"=={kind}");
        for (label, value) in labels {
            filter += &format!(",labels.\"io.kubernetes.{label}\"=={value}");
        }
        let ctr = ["ctr", "--namespace=k8s.io"];
        let ids = self.run(&[&ctr[..], &["containers", "list", "--quiet", &filter]].concat());
        let tasks = self.run(&[&ctr[..], &["tasks", "list"]].concat());
        let running = |id: &str| {
            let mut tasks = tasks
                .lines()
                .map(|it| it.split_whitespace().collect::<Vec<_>>());
            let task = tasks.find(|it| it[0] == id && it[2] == "RUNNING")?;
            Some(Container {
                id: id.to_owned(),
                pid: Pid::from_raw(task[1].parse().unwrap()),
            })
        };
        ids.lines().filter_map(running).collect()
    }

    /// Its sandboxes: those with our bytes, and the others.
    pub fn sandboxes(&self) -> (Vec<Container>, Vec<Container>) {
        let ours = fs::read(Program::native().path).unwrap();
        let proc = self.processes().0;
        let runs_ours = |it: &Container| {
            fs::read(proc.join(format!("{}/exe", it.pid))).is_ok_and(|exe| exe == ours)
        };
        self.containers("sandbox", &[])
            .into_iter()
            .partition(runs_ours)
    }
}

/// The folder that `make kind` keeps what it mounts into the nodes in.
pub fn folder() -> PathBuf {
    project().join("target/kind")
}
