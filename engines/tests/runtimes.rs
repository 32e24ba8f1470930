//! use-pause on runtimes that are not at hand. Stand-ins serve their CRI, and read the configuration as
//! CRI-O, k3s and RKE2 do by their sources and by public reports.

use engines::{
    End, built,
    engine::{IMAGE, Nest, archive},
    node::Node,
    output,
    program::{PLATFORMS, Platform},
    project, sandbox,
    stand_in::{OTHER, Served, Shell, StandIn, ours},
    wait_until, write_script,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};
use use_pause::{
    archive::Archive,
    cri::{CgroupDriver, PodSandboxMetadata},
};

/// An example without its comments.
fn example(name: &str) -> String {
    let text = fs::read_to_string(project().join("examples").join(name)).unwrap();
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with('#')).collect()
}

/// The last value of a key in the files of a directory, by name.
fn value(directory: &Path, key: &str) -> Option<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .ok()?
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    let text: String = files
        .iter()
        .map(|it| fs::read_to_string(it).unwrap())
        .collect();
    let mut found = text.lines().filter_map(|line| line.split_once(['=', ':']));
    let found = found.rfind(|(name, _)| name.trim() == key);
    found.map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned())
}

/// CRI-O. It reads /etc/crio once it is reloaded, and its store is podman's.
struct CrioLike {
    /// What it has read.
    read: PathBuf,
    shell: Shell,
    /// The option in its unit.
    pause_image: Option<&'static str>,
}

impl StandIn for CrioLike {
    fn sandbox_image(&self) -> String {
        let set = self.pause_image.map(str::to_owned);
        let set = set.or_else(|| value(&self.read, "pause_image"));
        set.unwrap_or_else(|| "registry.k8s.io/pause:3.10".to_owned())
    }

    fn image_id(&self, name: &str) -> Option<String> {
        let inspect = format!("podman image inspect --format '{{{{.Id}}}}' {name}");
        let end = self.shell.command(&inspect).output().unwrap();
        end.status
            .success()
            .then(|| String::from_utf8(end.stdout).unwrap().trim().to_owned())
    }

    fn command(&self, image: &str) -> Result<String, String> {
        let command = value(&self.read, "pause_command").unwrap_or_else(|| "/pause".to_owned());
        match (image == IMAGE, &*command) {
            (true, "/pause" | "") => Ok(ours()),
            (true, other) => Err(format!("container create failed: {other}: no such file")),
            (false, _) => Ok(OTHER.to_owned()),
        }
    }
}

/// A node with a stand-in for CRI-O, that has such a file in crio.conf.d.
fn crio(file: &str, pause_image: Option<&'static str>) -> (Node, Served) {
    let node = Node::new("/usr/bin");
    let nest = node.nest();
    let directory = nest.root("/etc/crio/crio.conf.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("10-vendor.conf"), file).unwrap();
    let read = "rm -rf /run/read && cp -r /etc/crio/crio.conf.d /run/read";
    let systemctl = format!(
        "#!/bin/sh -e\ncase \"$*\" in 'reload crio') {read} ;; daemon-reload) ;; *) exit 1 ;; esac\n"
    );
    write_script(nest.path("bin/systemctl"), &systemctl);
    output(node.command("systemctl").args(["reload", "crio"]));
    // Its version, its configuration, or the service.
    let status = "sed '/pause_image/!d; s/^/[crio.image]\\n/' $(ls /run/read/* | tail -n 1)";
    let crio = format!(
        "#!/bin/sh\ncase $1 in --version) echo crio version 1.36.3 ;; status) {status} ;; *) sleep 1000 & wait ;; esac\n"
    );
    write_script(nest.path("bin/crio"), &crio);
    if let Some(image) = pause_image {
        let service = format!("crio --pause-image {image} >/dev/null 2>&1 &");
        output(node.command("sh").args(["-c", &service]));
    }
    let like = CrioLike {
        read: nest.root("/run/read"),
        shell: Shell::of(nest),
        pause_image,
    };
    let served = Served::start(nest, "/run/crio/crio.sock", like);
    (node, served)
}

#[test]
fn cri_o_is_switched_and_goes_back() {
    let (node, served) = crio("", None);
    let options = ["--runtime=crio", "--restart"];
    let said = node.use_pause_says(&options, "a new sandbox runs pause for amd64");
    println!("{said}");
    assert!(said.contains(&format!("{IMAGE}: imported\n")), "{said}");
    assert!(
        said.contains("runs no pause in pods with a PID namespace per container"),
        "{said}"
    );
    let file = node.nest().root("/etc/crio/crio.conf.d/99-use-pause.conf");
    assert_eq!(fs::read_to_string(&file).unwrap(), example("crio.conf"));
    node.use_pause_says(&options, "already imported");
    let status = node.use_pause_said(&["--runtime=crio", "status", "--output=json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (&status["ours"], &status["pinned"]),
        (&json!(true), &json!(true))
    );
    node.use_pause_says(&["--runtime=crio", "undo", "--restart"], "another program");
    assert!(!file.exists());
    assert!(served.pods.lock().unwrap().is_empty());
    let later = node.nest().root("/etc/crio/crio.conf.d/99-x.conf");
    fs::write(later, "[crio.image]\npause_image = 'other'\n").unwrap();
    node.use_pause_refuses(&options, "99-x.conf sets pause_image");
}

/// OpenShift's command is not in our image.
#[test]
fn cri_o_with_another_pause_command_gets_ours() {
    let (node, _served) = crio("[crio.image]\npause_command = \"/usr/bin/pod\"\n", None);
    node.use_pause_says(
        &["--runtime=crio", "--restart"],
        "a new sandbox runs pause for amd64",
    );
    node.use_pause_says(&["--runtime=crio", "--restart"], "nothing to change");
}

/// An option of the unit wins over the configuration: use-pause sees that, and goes back.
#[test]
fn cri_o_with_an_image_in_its_unit_goes_back() {
    let (node, served) = crio("", Some("registry.k8s.io/pause:3.9"));
    let why =
        "from registry.k8s.io/pause:3.9 (crio runs with --pause-image registry.k8s.io/pause:3.9";
    let said = node.use_pause_refuses(&["--runtime=crio", "--restart"], why);
    assert!(
        said.contains("restored the old configuration: a new sandbox runs another"),
        "{said}"
    );
    assert!(
        !node
            .nest()
            .root("/etc/crio/crio.conf.d/99-use-pause.conf")
            .exists()
    );
    assert!(served.pods.lock().unwrap().is_empty());
}

/// k3s or RKE2. It reads config.yaml.d and imports the archive as it starts.
struct K3sLike {
    root: PathBuf,
    name: &'static str,
    /// What the server's system-default-registry is.
    registry: Option<&'static str>,
}

impl K3sLike {
    fn archive(&self) -> Option<Archive> {
        let file = self.root.join(format!(
            "var/lib/rancher/{}/agent/images/use-pause.tar",
            self.name
        ));
        Archive::read(&file).ok()
    }
}

impl StandIn for K3sLike {
    fn sandbox_image(&self) -> String {
        let set = value(&self.root.join("run/read"), "pause-image");
        let set = set.unwrap_or_else(|| "docker.io/rancher/mirrored-pause:3.6".to_owned());
        // go-containerregistry's rule.
        let first = set.split('/').next().unwrap();
        let set = if first.contains(['.', ':']) {
            set
        } else {
            format!("index.docker.io/{set}")
        };
        self.registry
            .map_or(set.clone(), |registry| format!("{registry}/{set}"))
    }

    fn image_id(&self, name: &str) -> Option<String> {
        let archive = self.archive().filter(|it| it.name == name)?;
        Some(archive.ids().last().unwrap().to_string())
    }

    fn command(&self, image: &str) -> Result<String, String> {
        match self.image_id(image) {
            Some(_) => Ok(ours()),
            None if image.ends_with("mirrored-pause:3.6") => Ok(OTHER.to_owned()),
            None => Err(format!("failed to pull {image}: no network")),
        }
    }

    fn driver(&self) -> Option<CgroupDriver> {
        // Its containerd of 1.x lacks the call.
        None
    }
}

/// A node with a stand-in for k3s or RKE2.
fn k3s(name: &'static str, registry: Option<&'static str>) -> (Node, Served) {
    let node = Node::new("/usr/bin");
    let nest = node.nest();
    let directory = format!("/etc/rancher/{name}/config.yaml.d");
    fs::create_dir_all(nest.root(&directory)).unwrap();
    let socket = "/run/k3s/containerd/containerd.sock";
    let unit = if name == "k3s" { "k3s" } else { "rke2-server" };
    let read = format!("rm -rf /run/read && cp -r {directory} /run/read && touch {socket}");
    let systemctl = format!("#!/bin/sh -e\n[ \"$*\" = 'restart {unit}' ]\n{read}\n");
    write_script(nest.path("bin/systemctl"), &systemctl);
    let root = nest.root("/");
    let served = Served::start(
        nest,
        socket,
        K3sLike {
            root,
            name,
            registry,
        },
    );
    (node, served)
}

#[test]
fn k3s_and_rke2_are_switched_and_go_back() {
    for name in ["k3s", "rke2"] {
        let (node, served) = k3s(name, None);
        let said = node.use_pause_says(&["--restart"], "a new sandbox runs pause for amd64");
        println!("{said}");
        assert!(said.contains("pause.localhost/pause:"), "{said}");
        let file = node.nest().root(&format!(
            "/etc/rancher/{name}/config.yaml.d/99-use-pause.yaml"
        ));
        assert_eq!(fs::read_to_string(&file).unwrap(), example("k3s.yaml"));
        node.use_pause_says(&["status"], "yes      pause\n");
        node.use_pause_says(&["undo", "--restart"], "another program");
        assert!(!file.exists());
        assert!(served.pods.lock().unwrap().is_empty());

        // What they would not find, or not obey.
        let why = format!("takes {IMAGE} for an image of docker.io");
        node.use_pause_refuses(&["--image", IMAGE], &why);
        let directory = file.parent().unwrap();
        for (line, why) in [
            ("pause-image: other", "zz.yaml sets pause-image"),
            (
                "system-default-registry: \"r.example\"",
                "look for the image in r.example",
            ),
            ("docker: true", "starts no containerd"),
        ] {
            fs::write(directory.join("zz.yaml"), format!("{line}\n")).unwrap();
            node.use_pause_refuses(&["--restart"], why);
        }
        fs::remove_file(directory.join("zz.yaml")).unwrap();
        let etc = node
            .nest()
            .root(&format!("/var/lib/rancher/{name}/agent/etc/containerd"));
        fs::create_dir_all(&etc).unwrap();
        fs::create_dir_all(etc.join("../../../server")).unwrap();
        let template = etc.join("config-v3.toml.tmpl");
        fs::write(
            &template,
            "  sandbox = \"{{ .NodeConfig.AgentConfig.PauseImage }}\"\n",
        )
        .unwrap();
        node.use_pause_says(&["--dry-run"], "+pause-image");
        fs::write(&template, "  sandbox = \"registry.example/pause:3\"\n").unwrap();
        node.use_pause_refuses(&[], "config-v3.toml.tmpl names the sandbox image itself");
    }
}

/// An agent gets system-default-registry from its server: no file of the node has it.
#[test]
fn k3s_that_renames_the_image_goes_back() {
    let (node, served) = k3s("k3s", Some("r.example"));
    let why = "failed to pull r.example/pause.localhost/pause:";
    let said = node.use_pause_refuses(&["--restart"], why);
    let end = node.use_pause(&["--restart", "--output=json"]);
    let object: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!(object["changed"], false, "{object}");
    assert!(
        said.contains("restored the old configuration: a new sandbox runs another"),
        "{said}"
    );
    let directory = node.nest().root("/etc/rancher/k3s/config.yaml.d");
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    assert!(served.pods.lock().unwrap().is_empty());
}

/// A runtime for `probe` alone.
#[derive(Clone, Copy)]
struct Simple {
    driver: Option<CgroupDriver>,
    has_process: bool,
    /// A call that is never answered.
    hangs: &'static str,
    is_ours: bool,
    /// How long a sandbox takes.
    delay: Duration,
}

const SIMPLE: Simple = Simple {
    driver: Some(CgroupDriver::Systemd),
    has_process: true,
    hangs: "",
    is_ours: true,
    delay: Duration::ZERO,
};

impl StandIn for Simple {
    fn sandbox_image(&self) -> String {
        IMAGE.to_owned()
    }
    fn image_id(&self, _name: &str) -> Option<String> {
        let archive = Archive::read(&archive()).unwrap();
        Some(if self.is_ours {
            archive.ids().last().unwrap().to_string()
        } else {
            "other".to_owned()
        })
    }
    fn command(&self, _image: &str) -> Result<String, String> {
        sleep(self.delay);
        Ok(if self.is_ours {
            ours()
        } else {
            OTHER.to_owned()
        })
    }
    fn driver(&self) -> Option<CgroupDriver> {
        self.driver
    }
    fn has_process(&self) -> bool {
        self.has_process
    }
    fn hangs(&self, call: &str) -> bool {
        call == self.hangs
    }
}

fn simple(it: Simple) -> (Node, Served, Vec<String>) {
    let node = Node::new("/usr/bin");
    let served = Served::start(node.nest(), "/run/x.sock", it);
    let probe = ["probe", "--cri", "/run/x.sock", "--output=json"].map(str::to_owned);
    (node, served, probe.to_vec())
}

fn probe(node: &Node, words: &[String]) -> (End, Value) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let end = node.use_pause(&words);
    let object = serde_json::from_str(&end.stdout).unwrap();
    (end, object)
}

#[test]
fn a_probe_fits_each_cgroup_driver() {
    let drivers = [
        None,
        Some(CgroupDriver::Systemd),
        Some(CgroupDriver::Cgroupfs),
    ];
    for driver in drivers {
        let (node, served, words) = simple(Simple { driver, ..SIMPLE });
        let (end, object) = probe(&node, &words);
        assert_eq!(end.status, Ok(0), "{driver:?}: {end:?}");
        assert_eq!(object["probe"]["platform"], "amd64");
        assert!(served.pods.lock().unwrap().is_empty());
    }
}

/// In a virtual machine the image tells, and use-pause says so.
#[test]
fn a_probe_goes_by_the_image_if_there_is_no_process() {
    for is_ours in [true, false] {
        let (node, _served, words) = simple(Simple {
            has_process: false,
            is_ours,
            ..SIMPLE
        });
        let (end, object) = probe(&node, &words);
        assert_eq!(end.status, if is_ours { Ok(0) } else { Ok(1) });
        assert_eq!(
            object["probe"],
            json!({"image": IMAGE, "sha256": null, "ours": is_ours, "platform": is_ours.then_some("unknown")})
        );
    }
}

#[test]
fn a_probe_of_another_program_fails() {
    let (node, served, words) = simple(Simple {
        is_ours: false,
        ..SIMPLE
    });
    let (end, object) = probe(&node, &words);
    assert_eq!((end.status, &*end.stderr), (Ok(1), ""));
    assert_eq!(
        (&object["probe"]["ours"], &object["error"]),
        (&json!(false), &Value::Null)
    );
    assert!(served.pods.lock().unwrap().is_empty());
}

#[test]
fn a_runtime_that_never_answers_is_one_line() {
    let (node, _served, words) = simple(Simple {
        hangs: "ListPodSandbox",
        ..SIMPLE
    });
    let start = Instant::now();
    let (end, object) = probe(&node, &words);
    let why = "ListPodSandbox: no answer in 10 s";
    assert_eq!(
        (end.status, &*end.stderr),
        (Ok(1), &*format!("use-pause: {why}\n"))
    );
    assert_eq!(object, json!({"error": why}));
    assert!(start.elapsed() < Duration::from_secs(15));
}

/// A probe removes what a killed one left, and no pod's sandbox.
#[test]
fn a_probe_removes_what_a_killed_one_left() {
    let (node, served, words) = simple(SIMPLE);
    let sleeper = |name: &str| {
        let script = format!("setsid {OTHER} >/dev/null 2>&1 & echo $!");
        let pid = output(&mut Shell::of(node.nest()).command(&script));
        let metadata = PodSandboxMetadata {
            name: name.to_owned(),
            namespace: name.to_owned(),
            ..Default::default()
        };
        let pod = (metadata, pid.trim().parse().unwrap(), String::new());
        served.pods.lock().unwrap().insert(name.to_owned(), pod);
    };
    sleeper("use-pause-probe");
    sleeper("kube-system");
    assert_eq!(probe(&node, &words).0.status, Ok(0));
    let pods = served.pods.lock().unwrap();
    assert_eq!(pods.keys().collect::<Vec<_>>(), ["kube-system"]);
}

/// A signal waits until the sandbox is removed.
#[test]
fn an_interrupted_probe_leaves_nothing() {
    let delay = Duration::from_millis(500);
    let (node, served, words) = simple(Simple { delay, ..SIMPLE });
    let script = format!(
        "{} \"$@\" & sleep 0.3; kill -TERM $!; wait $!",
        engines::node::use_pause()
    );
    let mut shell = node.command("bash");
    shell.args(["-c", &script, "bash"]).args(words);
    let end = sandbox::run(&mut shell);
    assert_eq!((end.status, &*end.stdout), (Ok(143), ""), "{}", end.stderr);
    wait_until("removed", || served.pods.lock().unwrap().is_empty());
}

/// At each step a probe is killed, or the call fails. The next probe removes what is left.
#[test]
fn a_probe_killed_or_failed_at_each_step_leaves_nothing() {
    let (node, served, words) = simple(SIMPLE);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let steps = node.steps(&words);
    let mut left = 0;
    for step in &steps {
        for fault in ["signal=KILL", "error=ENOSPC"] {
            let Some(end) = node.with_fault(fault, step, &words) else {
                continue;
            };
            if fault != "signal=KILL" {
                let is_one_line = end.stderr.lines().count() == 1;
                assert!(end.status == Ok(0) || is_one_line, "{step:?}: {end:?}");
            }
            // The stand-in goes on with a sandbox that nobody waits for.
            left += served.pods.lock().unwrap().len();
        }
    }
    assert_eq!(node.use_pause(&words).status, Ok(0));
    wait_until("removed", || served.pods.lock().unwrap().is_empty());
    println!("{} steps, {left} sandboxes left by them", steps.len());
    assert!(left > 0);
}

/// In an emulator: use-pause for each platform, against the stand-in of this machine.
#[test]
#[ignore = "needs all platforms of `make node`: make test-containerd-2"]
fn use_pause_runs_on_each_platform() {
    let (node, served, words) = simple(SIMPLE);
    let has_none = ["arm/v6", "loong64"];
    for platform in PLATFORMS.iter().filter(|it| !has_none.contains(&it.name)) {
        let file = built(&format!("use-pause/{}/use-pause", platform.arch));
        let mut command = if platform.is_native() {
            node.command(file.to_str().unwrap())
        } else {
            let mut emulator = node.command(&format!("{}-static", platform.emulator()));
            emulator.arg(file);
            emulator
        };
        let end = sandbox::run(command.args(&words));
        println!("{}: {end:?}", platform.name);
        assert_eq!((end.status, &*end.stderr), (Ok(0), ""));
        let object: Value = serde_json::from_str(&end.stdout).unwrap();
        assert_eq!(object["probe"]["platform"], Platform::native().name);
        assert!(served.pods.lock().unwrap().is_empty());
    }
}

#[test]
fn a_node_without_a_runtime_is_one_line() {
    let nest = Nest::new();
    let mut command = nest.command("env");
    command.args([
        "PATH=/nowhere",
        &engines::node::use_pause(),
        "--runtime=crio",
    ]);
    let end = sandbox::run(&mut command);
    assert_eq!(end, End::exit(1, "", "use-pause: cannot find crio\n"));
}
