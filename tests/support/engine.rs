//! Engines, each in a nest: mount, network and PID namespaces of its own, which take everything
//! that it starts and mounts with them.

use crate::{
    built, make, output,
    program::{Platform, Program},
    project, said,
    sandbox::Sandbox,
    story::{APP, Engine, LISTENER},
    text, wait_until,
};
use nix::{sched::CloneFlags, unistd::Pid};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    cell::{Cell, RefCell},
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// The image's name as `make` makes it without IMAGE.
pub const IMAGE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// An image with busybox's sh, ps, readlink and sleep, for the apps of a pod; engines have it as
/// docker's busybox, too.
pub const APP_IMAGE: &str = "localhost/app:test";

/// The archive under test.
pub fn archive() -> PathBuf {
    built("pause.tar")
}

/// What a nest shows of the machine's cgroups, where there are hierarchies of version 1 beside one of
/// version 2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// As they are.
    All,
    /// Version 1 without the hierarchy of version 2, which crun takes for a mixture.
    V1,
    /// Version 2 alone. It has fewer controllers there than on a machine that has nothing else.
    V2,
}

impl Cgroups {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// Namespaces for an engine, and a folder for its files.
pub struct Nest {
    shared_cgroup: Cell<Option<&'static str>>,
    namespaces: Vec<&'static str>,
    // Dropped first: what holds the namespaces, then what was in use in them.
    first: Sandbox,
    /// Where the engine keeps its files.
    pub folder: TempDir,
}

impl Nest {
    /// Makes the namespaces, with the loopback up.
    pub fn new() -> Self {
        Self::with(CloneFlags::empty(), &["--net", "--mount", "--pid"])
    }

    /// The same, in a user namespace too, which has some settings of its own.
    fn with_user_namespace() -> Self {
        let namespaces = &["--user", "--net", "--mount", "--pid"];
        Self::with(CloneFlags::CLONE_NEWUSER, namespaces)
    }

    /// The same, where the kernel runs programs for that platform by an emulator, and nowhere else. It
    /// takes Linux 6.7.
    pub fn with_emulator(platform: &Platform) -> Self {
        let nest = Self::with_user_namespace();
        nest.mount(&["--types=binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"]);
        let emulator = platform.emulator().trim_end_matches("-static");
        let emulator = fs::read(format!("/usr/lib/binfmt.d/{emulator}.conf")).unwrap();
        fs::write(nest.proc().join("sys/fs/binfmt_misc/register"), emulator).unwrap();
        nest
    }

    /// The same, with cgroups of version 2 alone, and where nobody expects devices to be filtered.
    pub fn with_cgroup2() -> Self {
        let nest = Self::with_user_namespace();
        let unified = "/sys/fs/cgroup/unified";
        if Path::new(unified).exists() {
            nest.mount(&["--bind", unified, "/sys/fs/cgroup"]);
        }
        nest
    }

    /// The same in the root file system of another release of Debian's, with these cgroups in sight.
    pub fn in_release(release: &str, cgroups: Cgroups) -> Self {
        let root = built(&format!("releases/{release}"));
        let folder = Self::folder();
        let enter = project().join("tests/support/enter-release");
        let [enter, root, project, at] =
            [&*enter, &root, project(), folder.path()].map(|path| path.to_str().unwrap());
        let words = ["/bin/bash", enter, root, cgroups.name(), project, at];
        let first = Sandbox::nest(CloneFlags::CLONE_NEWIPC, &words);
        Self::of(first, folder, &["--net", "--mount", "--pid", "--ipc"])
    }

    pub(crate) fn mount(&self, arguments: &[&str]) {
        output(self.command("mount").args(arguments));
    }

    fn with(others: CloneFlags, namespaces: &[&'static str]) -> Self {
        let first = Sandbox::nest(others, &["/bin/sleep", "infinity"]);
        Self::of(first, Self::folder(), namespaces)
    }

    fn folder() -> TempDir {
        TempDir::with_prefix("pause-test-").unwrap()
    }

    fn of(first: Sandbox, folder: TempDir, namespaces: &[&'static str]) -> Self {
        let nest = Self {
            shared_cgroup: Cell::new(None),
            namespaces: namespaces.to_owned(),
            first,
            folder,
        };
        output(nest.command("ip").args(["link", "set", "lo", "up"]));
        nest
    }

    /// A command that runs in here, for two minutes at most.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.daemon("timeout");
        command.args(["--kill-after=5", "120", program]);
        command
    }

    /// A command that runs in here until all in here ends.
    pub fn daemon(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first.pid));
        command.args(&self.namespaces).arg(program);
        command
    }

    /// Starts a daemon, its output in the file NAME.log of the folder, and waits until it is `ready`.
    pub fn start_daemon(&self, name: &str, mut daemon: Command, mut ready: Command) {
        let path = self.path(&format!("{name}.log"));
        let log = fs::File::create(&path).unwrap();
        daemon
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log);
        let mut daemon = daemon.spawn().unwrap();
        wait_until("ready", || {
            let log = || fs::read_to_string(&path).unwrap();
            assert_eq!(daemon.try_wait().unwrap(), None, "{}", log());
            ready.output().unwrap().status.success()
        });
        // nsenter goes with the daemon, which goes with the namespaces.
        drop(daemon);
    }

    /// A path in the folder.
    pub fn path(&self, path: &str) -> String {
        self.folder.path().join(path).to_str().unwrap().to_owned()
    }

    /// The name of the cgroup that all of the engine's are to be in.
    pub fn cgroup(&self) -> String {
        let name = self.folder.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    /// That what runs here makes a cgroup of that name too, where one cannot choose. It goes in the
    /// end, but where others of the machine are in it.
    pub fn shares_cgroup(&self, name: &'static str) {
        self.shared_cgroup.set(Some(name));
    }

    /// /proc of the PID namespace.
    pub fn proc(&self) -> PathBuf {
        self.root("/proc")
    }

    /// What has that path in here.
    pub fn root(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.first.pid).into()
    }
}

impl Default for Nest {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        self.first.kill();
        let cgroups = glob_cgroups(&self.cgroup());
        wait_until("rid of its cgroups", || {
            cgroups.iter().all(|cgroup| remove_cgroup(cgroup))
        });
        for cgroup in self.shared_cgroup.get().map_or(vec![], glob_cgroups) {
            // All that was in it is gone, if it was of this nest.
            remove_cgroup(&cgroup);
        }
    }
}

/// The folders of a cgroup in all hierarchies, v1 and v2.
fn glob_cgroups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders = hierarchies
        .chain([root.to_owned()])
        .map(|hierarchy| hierarchy.join(name));
    folders.filter(|folder| folder.is_dir()).collect()
}

/// Removes a cgroup and those in it, as far as their processes are gone; whether it is gone.
fn remove_cgroup(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroup(&entry.path());
        }
    }
    _ = fs::remove_dir(folder);
    !folder.exists()
}

/// The sha256 of some bytes, in hex.
pub fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An archive of [`APP_IMAGE`], in docker's form, which each engine loads.
pub fn app_archive(nest: &Nest) -> String {
    busybox_archive(nest, &[APP_IMAGE, "docker.io/library/busybox:latest"], &[])
}

/// The same of an image of these names, which runs these words.
pub(crate) fn busybox_archive(nest: &Nest, names: &[&str], words: &[&str]) -> String {
    let mut layer = tar::Builder::new(Vec::new());
    let busybox = Path::new("/bin/busybox");
    layer.append_path_with_name(busybox, "bin/busybox").unwrap();
    for applet in ["nc", "ps", "readlink", "sh", "sleep"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        let link = format!("bin/{applet}");
        layer.append_link(&mut header, link, "busybox").unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": Platform::native().arch,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": words},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}]);
    let path = nest.path("app.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    for (name, content) in [
        ("layer.tar", layer),
        ("config.json", config.to_string().into()),
        ("manifest.json", manifest.to_string().into()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, &*content).unwrap();
    }
    archive.finish().unwrap();
    path
}

/// A command for containers, as podman has it in common with docker.
pub trait Cli {
    /// The command, for that engine alone.
    fn command(&self) -> Command;

    /// Runs it, which must succeed; its output without the last line's end.
    fn run(&self, arguments: &[&str]) -> String {
        said(self.command().args(arguments))
    }

    /// The process id that it tells of a container.
    fn pid(&self, container: &str) -> Pid {
        let pid = self.run(&["inspect", "--format={{.State.Pid}}", container]);
        Pid::from_raw(pid.parse().unwrap())
    }

    /// The exit code of a container and what it said to standard output, which is started once more
    /// or was already.
    fn finish(&self, container: &str, again: bool) -> (i32, String) {
        let mut before = 0;
        if again {
            before = self.run(&["logs", container]).len();
            self.run(&["start", container]);
        }
        let code = self.run(&["wait", container]);
        let said = self.run(&["logs", container]);
        let said = said[before..].trim_start().to_owned();
        (code.parse().unwrap(), said)
    }

    /// The exit code of a container that has ended, and its standard error.
    fn end_of(&self, container: &str) -> (i32, String) {
        let code = self.run(&["inspect", "--format={{.State.ExitCode}}", container]);
        let log = self.command().args(["logs", container]).output().unwrap();
        (code.parse().unwrap(), text(log.stderr))
    }
}

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
        let container = |name, script| {
            json!({
                "name": name, "image": APP_IMAGE, "imagePullPolicy": "Never",
                "command": ["sh", "-c", script],
            })
        };
        // JSON is YAML.
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"},
            "spec": {
                "shareProcessNamespace": true, "restartPolicy": "Never",
                "containers": [container("listener", LISTENER), container("app", APP)],
            },
        });
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

    /// Imports [`IMAGE`] as kind does on a node, and [`APP_IMAGE`].
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

/// docker's daemon, with nothing of the machine's. What it has for a pod are containers in the
/// namespaces of one, which is the sandbox.
pub struct Docker(Nest);

impl Docker {
    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        Self::start_in(Nest::new(), "{}")
    }

    /// That of another release, which keeps images in a store of its own, or in containerd's.
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
        // Its containerd makes folders there, whatever one tells it.
        let [upper, work] = ["opt", "opt-work"].map(|folder| nest.path(folder));
        for folder in [&upper, &work] {
            fs::create_dir(folder).unwrap();
        }
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
        daemon.args([
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--default-ulimit=nofile=20000:20000",
        ]);
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
    fn load(&self) {
        self.run(&["load", "--input", archive().to_str().unwrap()]);
        self.load_app();
    }

    /// Loads [`APP_IMAGE`].
    pub fn load_app(&self) {
        self.run(&["load", "--input", &app_archive(&self.0)]);
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
        self.load();
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
        self.run(&["ps", "--all", "--quiet"])
    }
}

/// docker, with a pod from a file of docker-compose.
pub struct Compose(Docker);

impl Compose {
    /// Starts docker.
    pub fn start() -> Self {
        Self(Docker::start())
    }

    /// That of another release.
    pub fn in_release(release: &str) -> Self {
        Self(Docker::in_release(release, true))
    }

    /// docker-compose's command, with the file that says what the pod is made of.
    fn command(&self) -> Command {
        let app = |name, script: &str| {
            json!({
                "image": APP_IMAGE, "container_name": name, "command": ["sh", "-c", script.replace('$', "$$")],
                "network_mode": "service:infra", "pid": "service:infra", "depends_on": ["infra"],
            })
        };
        let file = json!({
            "version": "2.4",
            "services": {
                "infra": {
                    "image": IMAGE, "container_name": "infra",
                    "network_mode": "none", "ipc": "shareable",
                },
                "listener": app("listener", LISTENER),
                "app": app("app", APP),
            },
        });
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
        self.0.load();
        output(self.command().args(["up", "--detach", "--no-build"]));
        self.0.pid("infra")
    }

    /// The file has it.
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
        self.0.run(&["ps", "--all", "--quiet"])
    }
}

/// A registry on the loopback of a nest, without encryption.
pub struct Registry<'a>(&'a Nest);

impl<'a> Registry<'a> {
    /// Its name for the image.
    pub const IMAGE: &'static str =
        concat!("localhost:5000/team/pause:", env!("CARGO_PKG_VERSION"));

    /// Starts it, with what is in that folder.
    pub fn start(nest: &'a Nest, folder: &str) -> Self {
        let config = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": folder}},
            "http": {"addr": "127.0.0.1:5000"},
            "log": {"formatter": "json"},
        });
        let path = nest.path("registry.yml");
        // JSON is YAML.
        fs::write(&path, config.to_string()).unwrap();
        let mut daemon = nest.daemon("docker-registry");
        daemon.args(["serve", &path]);
        let mut ready = nest.command("bash");
        ready.args(["-c", ": < /dev/tcp/127.0.0.1/5000"]);
        nest.start_daemon("registry", daemon, ready);
        Self(nest)
    }

    /// Pushes the image to it, as [`Self::IMAGE`].
    pub fn push(&self) {
        let mut push = make(self.0.command("make"));
        let flags = "PUSH_FLAGS=--dest-tls-verify=false";
        push.args(["push", "REGISTRY=localhost:5000/team", flags]);
        output(&mut push);
    }

    /// What it has sent so far, by the path of each request that was answered with something: bytes.
    pub fn sent(&self) -> Vec<(String, u64)> {
        let log = fs::read_to_string(self.0.path("registry.log")).unwrap();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &serde_json::Value| {
                line["msg"] == "response completed"
                    && line["http.request.method"] == "GET"
                    && line["http.response.status"] == 200
            })
            .map(|line| {
                let path = line["http.request.uri"].as_str().unwrap().to_owned();
                (path, line["http.response.written"].as_u64().unwrap())
            })
            .collect()
    }
}
