//! use-pause on runtimes that are not at hand. Stand-ins serve their CRI, and read the configuration as
//! CRI-O, k3s and RKE2 do by their sources and by public reports.

use engines::{
    End, built,
    engine::{IMAGE, Nest},
    node::Node,
    output,
    program::PLATFORMS,
    project, sandbox,
    stand_in::{OTHER, Served, Shell, StandIn, ours},
    write_script,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
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

/// A node with a stand-in for CRI-O, that has such a file in crio.conf.d, and perhaps an option in its unit. CRI-O
/// reads its files a while after its reload has ended, and its store is podman's.
fn crio(file: &str, pause_image: Option<&'static str>) -> (Node, Served) {
    let node = Node::new("/usr/bin");
    let nest = node.nest();
    let directory = nest.root("/etc/crio/crio.conf.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("10-vendor.conf"), file).unwrap();
    let read = "rm -rf /run/read && cp -r /etc/crio/crio.conf.d /run/read";
    output(node.command("sh").args(["-c", read]));
    let systemctl = format!(
        "#!/bin/sh\n[ \"$*\" = 'reload crio' ] || exit 1\n(sleep 1; {read}) >/dev/null 2>&1 &\n"
    );
    write_script(nest.path("bin/systemctl"), &systemctl);
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
    let (read, shell) = (nest.root("/run/read"), Shell::of(nest));
    let sandbox = move || {
        let set = |key| value(&read, key);
        let image = pause_image.map(str::to_owned).or(set("pause_image"));
        let image = image.unwrap_or_else(|| "registry.k8s.io/pause:3.10".to_owned());
        let command = match set("pause_command").as_deref().unwrap_or_default() {
            _ if image != IMAGE => Ok(OTHER.to_owned()),
            "/pause" | "" => Ok(ours()),
            other => Err(format!("container create failed: {other}: no such file")),
        };
        (image, command)
    };
    let id = move |name: &str| {
        let inspect = format!("podman image inspect --format '{{{{.Id}}}}' {name}");
        let end = shell.command(&inspect).output().unwrap();
        let printed = String::from_utf8(end.stdout).unwrap();
        end.status.success().then(|| printed.trim().to_owned())
    };
    let it = StandIn {
        sandbox: Box::new(sandbox),
        id: Box::new(id),
        ..Default::default()
    };
    let served = Served::start(nest, "/run/crio/crio.sock", it);
    (node, served)
}

#[test]
fn cri_o_is_switched_and_goes_back() {
    let (node, served) = crio("", None);
    let options = ["--runtime=crio", "--restart"];
    let printed = node.use_pause_prints(&options, "a new sandbox runs pause for amd64");
    println!("{printed}");
    assert!(
        printed.contains(&format!("{IMAGE}: imported\n")),
        "{printed}"
    );
    assert!(
        printed.contains("runs no pause in pods with a PID namespace per container"),
        "{printed}"
    );
    let file = node.nest().root("/etc/crio/crio.conf.d/99-use-pause.conf");
    assert_eq!(fs::read_to_string(&file).unwrap(), example("crio.conf"));
    node.use_pause_prints(&options, "already imported");
    node.use_pause_prints(&["--runtime=crio", "status"], "yes      pause\n");
    node.use_pause_prints(&["--runtime=crio", "undo", "--restart"], "another program");
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
    node.use_pause_prints(
        &["--runtime=crio", "--restart"],
        "a new sandbox runs pause for amd64",
    );
    node.use_pause_prints(&["--runtime=crio", "--restart"], "nothing to change");
}

/// An option of the unit wins over the configuration: use-pause sees that, and goes back.
#[test]
fn cri_o_with_an_image_in_its_unit_goes_back() {
    let (node, served) = crio("", Some("registry.k8s.io/pause:3.9"));
    let why =
        "from registry.k8s.io/pause:3.9 (crio runs with --pause-image registry.k8s.io/pause:3.9";
    let printed = node.use_pause_refuses(&["--runtime=crio", "--restart"], why);
    assert!(
        printed.contains("restored the old configuration: a new sandbox runs another"),
        "{printed}"
    );
    assert!(
        !node
            .nest()
            .root("/etc/crio/crio.conf.d/99-use-pause.conf")
            .exists()
    );
    assert!(served.pods.lock().unwrap().is_empty());
}

/// A node with a stand-in for k3s or RKE2, and the server's system-default-registry. They read config.yaml.d and
/// import the archive as they start.
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
    let archive = format!("/var/lib/rancher/{name}/agent/images/use-pause.tar");
    let (read, archive) = (nest.root("/run/read"), nest.root(&archive));
    let stored = move |name: &str| Archive::read(&archive).ok().filter(|it| it.name == name);
    let id = stored.clone();
    let sandbox = move || {
        let image = value(&read, "pause-image");
        let image = image.unwrap_or_else(|| "docker.io/rancher/mirrored-pause:3.6".to_owned());
        // go-containerregistry's rule.
        let is_full = image.split('/').next().unwrap().contains(['.', ':']);
        let prefix = if is_full { "" } else { "index.docker.io/" };
        let registry = registry.map(|it| format!("{it}/")).unwrap_or_default();
        let image = format!("{registry}{prefix}{image}");
        let command = match stored(&image) {
            Some(_) => Ok(ours()),
            None if image.ends_with("mirrored-pause:3.6") => Ok(OTHER.to_owned()),
            None => Err(format!("failed to pull {image}: no network")),
        };
        (image, command)
    };
    let it = StandIn {
        sandbox: Box::new(sandbox),
        id: Box::new(move |name| id(name)?.ids.pop()),
        // Its containerd of 1.x lacks the call.
        driver: None,
        ..Default::default()
    };
    let served = Served::start(nest, socket, it);
    (node, served)
}

#[test]
fn k3s_and_rke2_are_switched_and_go_back() {
    for name in ["k3s", "rke2"] {
        let (node, served) = k3s(name, None);
        let printed = node.use_pause_prints(&["--restart"], "a new sandbox runs pause for amd64");
        println!("{printed}");
        assert!(printed.contains("pause.localhost/pause:"), "{printed}");
        let file = node.nest().root(&format!(
            "/etc/rancher/{name}/config.yaml.d/99-use-pause.yaml"
        ));
        assert_eq!(fs::read_to_string(&file).unwrap(), example("k3s.yaml"));
        node.use_pause_prints(&["status"], "yes      pause\n");
        node.use_pause_prints(&["undo", "--restart"], "another program");
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
        node.use_pause_prints(&["--dry-run"], "+pause-image");
        fs::write(&template, "  sandbox = \"registry.example/pause:3\"\n").unwrap();
        node.use_pause_refuses(&[], "config-v3.toml.tmpl names the sandbox image itself");
    }
}

/// At a step of a switch or of undo, use-pause is killed or interrupted, or the call fails.
#[test]
fn broken_at_some_steps_k3s_starts() {
    break_k3s(31);
}

#[test]
#[ignore = "minutes: make test-containerd-2"]
fn broken_at_more_steps_k3s_starts() {
    break_k3s(7);
}

fn break_k3s(every: usize) {
    let (node, served) = k3s("k3s", None);
    let file = node
        .nest()
        .root("/etc/rancher/k3s/config.yaml.d/99-use-pause.yaml");
    let archive = node
        .nest()
        .root("/var/lib/rancher/k3s/agent/images/use-pause.tar");
    let restart = || _ = output(node.command("systemctl").args(["restart", "k3s"]));
    let pods = || served.pods.lock().unwrap().len();
    let before = || {
        _ = fs::remove_file(&file);
        _ = fs::remove_file(&archive);
        restart();
    };
    node.break_at_steps(&["--restart"], every, &file, before, pods);
    let switched = fs::read(&file).unwrap();
    let after = || {
        fs::write(&file, &switched).unwrap();
        restart();
    };
    node.break_at_steps(&["undo", "--restart"], every, &file, after, pods);
}

/// An agent gets system-default-registry from its server: no file of the node has it.
#[test]
fn k3s_that_renames_the_image_goes_back() {
    let (node, served) = k3s("k3s", Some("r.example"));
    let why = "failed to pull r.example/pause.localhost/pause:";
    let printed = node.use_pause_refuses(&["--restart"], why);
    let (_, object) = node.use_pause_json(&["--restart"]);
    assert_eq!(object["changed"], false, "{object}");
    assert!(
        printed.contains("restored the old configuration: a new sandbox runs another"),
        "{printed}"
    );
    let directory = node.nest().root("/etc/rancher/k3s/config.yaml.d");
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    assert!(served.pods.lock().unwrap().is_empty());
}

/// A node with a runtime for `probe` alone, and the words for that.
fn simple(it: StandIn) -> (Node, Served, Vec<&'static str>) {
    let node = Node::new("/usr/bin");
    let served = Served::start(node.nest(), "/run/x.sock", it);
    (node, served, vec!["probe", "--cri", "/run/x.sock"])
}

/// Whatever the cgroup driver. In a virtual machine the image tells, and use-pause says so.
#[test]
fn a_probe_says_what_a_sandbox_runs() {
    let systemd = Some(CgroupDriver::Systemd);
    for (driver, has_process, is_ours, platform) in [
        (None, true, true, json!("amd64")),
        (systemd, true, true, json!("amd64")),
        (Some(CgroupDriver::Cgroupfs), true, true, json!("amd64")),
        (systemd, true, false, Value::Null),
        (systemd, false, true, json!("unknown")),
        (systemd, false, false, Value::Null),
    ] {
        let mut it = StandIn {
            driver,
            has_process,
            ..Default::default()
        };
        if !is_ours {
            it.sandbox = Box::new(|| (IMAGE.to_owned(), Ok(OTHER.to_owned())));
            it.id = Box::new(|_| Some("other".to_owned()));
        }
        let (node, served, words) = simple(it);
        let (end, object) = node.use_pause_json(&words);
        let probe = &object["probe"];
        let expected = (if is_ours { Ok(0) } else { Ok(1) }, "", is_ours);
        let found = (end.status, &*end.stderr, probe["ours"] == true);
        assert_eq!(found, expected, "{driver:?}: {object}");
        assert_eq!(probe["platform"], platform);
        assert_eq!(probe["image"], IMAGE);
        assert_eq!(probe["sha256"].is_string(), has_process);
        assert!(served.pods.lock().unwrap().is_empty());
    }
}

#[test]
fn a_runtime_that_never_answers_is_one_line() {
    let (node, _served, words) = simple(StandIn {
        hangs: "ListPodSandbox",
        ..Default::default()
    });
    let (end, object) = node.use_pause_json(&words);
    let why = "ListPodSandbox: no answer in 10 s";
    assert_eq!(
        (end.status, end.stderr),
        (Ok(1), format!("use-pause: {why}\n"))
    );
    assert_eq!(object, json!({"error": why}));
}

/// A probe removes what a killed one left, and no pod's sandbox.
#[test]
fn a_probe_removes_what_a_killed_one_left() {
    let (node, served, words) = simple(StandIn::default());
    let sleeper = |name: &str| {
        let script = format!("setsid {OTHER} >/dev/null 2>&1 & echo $!");
        let pid = output(&mut Shell::of(node.nest()).command(&script));
        let metadata = PodSandboxMetadata {
            name: name.to_owned(),
            namespace: name.to_owned(),
            ..Default::default()
        };
        let pod = (metadata, pid.trim().to_owned(), String::new());
        served.pods.lock().unwrap().insert(name.to_owned(), pod);
    };
    sleeper("use-pause-probe");
    sleeper("kube-system");
    assert_eq!(node.use_pause(&words).status, Ok(0));
    let pods = served.pods.lock().unwrap();
    assert_eq!(pods.keys().collect::<Vec<_>>(), ["kube-system"]);
}

/// In an emulator: use-pause for each platform, against the stand-in of this machine.
#[test]
#[ignore = "needs all platforms of `make node`: make test-containerd-2"]
fn use_pause_runs_on_each_platform() {
    let (node, served, words) = simple(StandIn::default());
    for directory in fs::read_dir(built("use-pause")).unwrap() {
        let directory = directory.unwrap();
        let arch = directory.file_name();
        let platform = PLATFORMS.iter().rfind(|it| arch == it.arch).unwrap();
        let file = directory.path().join("use-pause");
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
        assert!(end.stdout.contains("runs pause for amd64"), "{end:?}");
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
