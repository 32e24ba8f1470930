//! kind on a docker of its own, with a node image that contains all that a cluster starts with.

use crate::{
    Processes, built,
    engine::{Cli, Docker, Nest, RUNC, app_archive},
    kubelet::Sysctls,
    make, output, project,
    story::Engine,
    text, write_script,
};
use nix::unistd::Pid;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Not every machine's root may lower an OOM score or load AppArmor profiles. And on cgroups of version 1 a
/// kubelet of 1.35 or newer starts only if told to.
const DOCKERFILE: &str = r#"
COPY usr /usr
COPY etc /etc
RUN sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true\n  disable_apparmor = true/' /etc/containerd/config.toml
RUN [ -f /sys/fs/cgroup/cgroup.controllers ] || ! kubelet --help | grep -q -e --fail-cgroupv1 || \
  sed -i 's/^KUBELET_EXTRA_ARGS="\?/&--fail-cgroupv1=false /' /etc/default/kubelet
"#;

const KUBECTL: [&str; 2] = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"];

/// A version of kind.
pub struct Kind {
    pub docker: Docker,
    version: String,
    // Restored after the nodes and their kubelets are gone.
    _sysctls: Sysctls,
}

/// A node of a cluster.
pub struct Node<'a> {
    kind: &'a Kind,
    pub name: String,
}

/// A sandbox or an app's container: its id, and its process in the node.
#[derive(Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub pid: Pid,
}

impl Kind {
    /// The node image.
    pub const IMAGE: &'static str = "node:test";

    /// Starts docker for a version of kind, and loads the node image: KIND_NODE, an archive, or the one that
    /// make builds.
    pub fn start(version: &str) -> Self {
        let archive = env::var_os("KIND_NODE").map(PathBuf::from);
        Self::start_with(version, &archive.unwrap_or_else(own_node), None, &[])
    }

    /// Starts docker with that node image and `files` in it. `containerd` is a directory in target/ whose
    /// commands replace the nodes' containerd.
    pub fn start_with(
        version: &str,
        archive: &Path,
        containerd: Option<&str>,
        files: &[(&str, &str)],
    ) -> Self {
        let sysctls = Sysctls::record();
        let nest = Nest::new();
        let runc = nest.path("runc");
        write_script(&runc, RUNC);
        let config = serde_json::json!({
            "runtimes": {"less": {"path": runc}}, "default-runtime": "less",
        });
        let kind = Self {
            docker: Docker::start_in(nest, &config.to_string()),
            version: version.to_owned(),
            _sysctls: sysctls,
        };
        build_image(&kind.docker, archive, containerd, files);
        kind
    }

    /// A command that finds this kind and its docker.
    fn command(&self, program: &str) -> Command {
        let mut command = command(self.docker.nest(), &self.version);
        command.arg(format!("DOCKER_HOST={}", self.docker.socket()));
        command.arg(program);
        command
    }

    /// Runs kind, which must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        output(self.command("kind").args(arguments))
    }

    /// Loads the app's image into the nodes of a cluster.
    pub fn load_app(&self, cluster: &str) {
        let app = app_archive(self.docker.nest());
        let cluster = format!("--name={cluster}");
        self.run(&["load", "image-archive", &cluster, &app]);
    }

    /// The command `make kind` with that node image.
    pub fn make_kind(&self, image: &str) -> Command {
        let mut make = make(self.command("make"));
        make.args(["--no-print-directory", "kind"]);
        make.arg(format!("KIND_IMAGE={image}"));
        make
    }

    /// Runs `make kind` with that node image. Returns whether it succeeded, and its output.
    pub fn make(&self, image: &str) -> (bool, String) {
        let ended = self.make_kind(image).output().unwrap();
        let printed = text(ended.stdout) + &text(ended.stderr);
        println!("{printed}");
        (ended.status.success(), printed)
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Node<'_> {
        Node {
            kind: self,
            name: name.to_owned(),
        }
    }
}

impl Node<'_> {
    /// Runs a command on the node, which must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.kind
            .docker
            .run(&[&["exec", &self.name], arguments].concat())
    }

    /// Runs a command on the node. Returns its standard output, whether it succeeded or not.
    pub fn try_run(&self, arguments: &[&str]) -> String {
        let mut docker = self.kind.docker.command();
        docker.args(["exec", &self.name]).args(arguments);
        text(docker.output().unwrap().stdout)
    }

    /// Runs ctr on the node, for the kubelet's images and containers.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        self.run(&[&["ctr", "--namespace=k8s.io"], arguments].concat())
    }

    /// Runs kubectl on the node, which must be a control plane.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.run(&[&KUBECTL, arguments].concat())
    }

    /// Runs kubectl, whether it succeeds or not.
    pub fn try_kubectl(&self, arguments: &[&str]) -> String {
        self.try_run(&[&KUBECTL, arguments].concat())
    }

    /// Whether the node has an image of that name.
    pub fn has_image(&self, name: &str) -> bool {
        let images = self.ctr(&["images", "list", "--quiet"]);
        images.lines().any(|it| it == name)
    }

    /// Applies a manifest, on a control plane.
    pub fn apply(&self, yaml: &str) {
        let path = self.kind.docker.nest().path("applied.yaml");
        fs::write(&path, yaml).unwrap();
        let mut docker = self.kind.docker.command();
        docker.args(["exec", "--interactive", &self.name]);
        docker.args(KUBECTL).args(["apply", "--filename=-"]);
        output(docker.stdin(fs::File::open(path).unwrap()));
    }

    /// The processes on the node.
    pub fn processes(&self) -> Processes {
        let docker = &self.kind.docker;
        let pid = docker.pid(&self.name);
        Processes(docker.nest().proc().join(format!("{pid}/root/proc")))
    }

    /// The running containers of a kind, "sandbox" or "container", of one pod or of all.
    pub fn containers(&self, kind: &str, pod: Option<&str>) -> Vec<Container> {
        let mut filter = format!("labels.\"io.cri-containerd.kind\"=={kind}");
        if let Some(pod) = pod {
            filter += &format!(",labels.\"io.kubernetes.pod.name\"=={pod}");
        }
        let ids = self.ctr(&["containers", "list", "--quiet", &filter]);
        let tasks = self.ctr(&["tasks", "list"]);
        let tasks = tasks
            .lines()
            .map(|it| it.split_whitespace().collect::<Vec<_>>());
        let running = tasks.filter(|it| it[2] == "RUNNING" && ids.lines().any(|id| id == it[0]));
        let containers = running.map(|it| Container {
            id: it[0].to_owned(),
            pid: Pid::from_raw(it[1].parse().unwrap()),
        });
        containers.collect()
    }

    /// The node's sandboxes: those that run pause, and the others.
    pub fn sandboxes(&self) -> (Vec<Container>, Vec<Container>) {
        let processes = self.processes();
        let sandboxes = self.containers("sandbox", None).into_iter();
        sandboxes.partition(|it| processes.runs_pause(it.pid))
    }
}

/// Builds [`Kind::IMAGE`] of that node image and `files` in it, as [`Kind::start_with`] says.
pub fn build_image(
    engine: &impl Cli,
    archive: &Path,
    containerd: Option<&str>,
    files: &[(&str, &str)],
) {
    let loaded = engine.load(archive.to_str().unwrap());
    // "Loaded image: NAME", or "Loaded image ID: sha256:…" of one without a name.
    let base = loaded.rsplit(' ').next().unwrap();
    let context = engine.nest().path("node");
    for directory in ["usr/bin", "etc"] {
        fs::create_dir_all(format!("{context}/{directory}")).unwrap();
    }
    if let Some(commands) = containerd {
        let mut copy = Command::new("cp");
        copy.args(["-rL", "--no-target-directory"]);
        output(copy.arg(built(commands)).arg(format!("{context}/usr/bin")));
    }
    for (path, content) in files {
        let path = Path::new(&context).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let dockerfile = format!("FROM {base}{DOCKERFILE}");
    fs::write(format!("{context}/Dockerfile"), dockerfile).unwrap();
    engine.run(&[
        "build",
        "--network=none",
        "--quiet",
        "--tag",
        Kind::IMAGE,
        &context,
    ]);
}

/// A command that finds that version of kind, with a time limit of ten minutes. Its arguments are variables first,
/// and then a program and its own.
pub fn command(nest: &Nest, version: &str) -> Command {
    let mut command = nest.daemon("timeout");
    // Long enough for what undoes a cluster after SIGTERM.
    command.args(["--kill-after=60", "600", "env"]);
    let others = env::var("PATH").unwrap();
    let commands = built(&format!("kind-{version}"));
    command.arg(format!("PATH={}:{others}:/usr/sbin", commands.display()));
    command.arg(format!("KUBECONFIG={}", nest.path("kubeconfig")));
    command
}

/// The node image that make builds.
pub fn own_node() -> PathBuf {
    built("kind-node.tar")
}

/// The directory with the files that `make kind` mounts into the nodes.
pub fn mounted() -> PathBuf {
    project().join("target/kind")
}
