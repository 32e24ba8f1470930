//! kind clusters, created as a user creates them: `make test-kind`.

use engines::{
    Processes, built,
    engine::{APP_IMAGE, Cli, IMAGE, example_pod},
    kind::{Container, Kind, Node, mounted},
    project,
    story::{Engine, zombies},
    text, wait_for,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs, thread::sleep, time::Duration};

/// Waits for a step of a cluster.
fn wait(what: &str, happened: impl FnMut() -> bool) {
    wait_for(Duration::from_secs(180), what, happened);
}

/// Waits until a node has sandboxes and all run pause. Returns how many.
fn wait_until_ours(node: &Node) -> usize {
    let mut count = 0;
    wait(&format!("all sandboxes of {} run pause", node.name), || {
        let (ours, others) = node.sandboxes();
        count = ours.len();
        count > 0 && others.is_empty()
    });
    count
}

/// Starts a pod on a node, whose app leaves five orphans that end, and runs on.
fn start_pod(control: &Node, pod: &str, node: &Node) {
    let app = "for i in 1 2 3 4 5; do (sleep 0.1 &); done; sleep 100000";
    let node = format!("nodeName: {}", node.name);
    let more = [&node, "terminationGracePeriodSeconds: 1"];
    control.apply(&example_pod(pod, &more, &[("app", app)]));
    wait_until_ready(control, pod);
}

fn wait_until_ready(control: &Node, pod: &str) {
    let pod = format!("pod/{pod}");
    control.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", &pod]);
}

/// The sandbox of a pod, if it runs.
fn sandbox(node: &Node, pod: &str) -> Option<Container> {
    node.containers("sandbox", Some(pod)).pop()
}

fn is_pinned(node: &Node) -> bool {
    let images = node.ctr(&["images", "list"]);
    let name = format!("{IMAGE} ");
    let image = images.lines().find(|it| it.starts_with(&name)).unwrap();
    image.contains("io.cri-containerd.pinned=pinned")
}

/// Checks all that `make kind` promises. (kubelet.rs kills apps and sandboxes.)
fn run_cluster(kind: &Kind) {
    let (control, worker) = (kind.node("pause-control-plane"), kind.node("pause-worker"));
    let (succeeded, printed) = kind.make(Kind::IMAGE);
    assert!(succeeded);
    for node in [&control, &worker] {
        let (name, count) = (&node.name, wait_until_ours(node));
        let line = format!("pause: {name}: {count} of {count} sandboxes run pause");
        assert!(printed.contains(&line), "{line}");
        assert!(is_pinned(node), "{name}");
    }
    let (succeeded, printed) = kind.make(Kind::IMAGE);
    assert!(!succeeded, "a second cluster of the same name");
    let delete = "kind delete cluster --name pause";
    assert!(printed.contains(delete), "{printed}");
    assert!(mounted().exists(), "what the nodes mount is gone");

    kind.load_app("pause");
    start_pod(&control, "story", &worker);
    let before = sandbox(&worker, "story").unwrap();
    sleep(Duration::from_millis(500));
    assert_eq!(zombies(&worker.processes(), before.pid), 0);
    println!("five orphans, no zombie");

    kind.docker.run(&["restart", &worker.name]);
    wait("the pod is back", || {
        sandbox(&worker, "story").is_some_and(|now| now.id != before.id)
    });
    wait_until_ready(&control, "story");
    let count = wait_until_ours(&worker);
    assert!(is_pinned(&worker));
    println!("the worker was restarted, and its {count} pods are back on pause");

    kind.run(&["delete", "cluster", "--name=pause"]);
    assert_eq!(kind.docker.containers(), "");
    assert_eq!(kind.docker.run(&["volume", "ls", "--quiet"]), "");
}

#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn kind_0_27() {
    run_cluster(&Kind::start("0.27", None, &[]));
}

#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn kind_0_33() {
    run_cluster(&Kind::start("0.33", Some("containerd-1.7"), &[]));
}

/// On a cluster with stock sandboxes, a label switches the worker, and another switches it back.
#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn rollout_yaml_switches_a_labelled_worker() {
    let kind = Kind::start("0.33", None, &[]);
    let config = kind.docker.nest().path("stock.yaml");
    let nodes = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n\
        nodes: [{role: control-plane}, {role: worker}]\n";
    fs::write(&config, nodes).unwrap();
    let create = ["create", "cluster", "--name=stock", "--wait=120s"];
    kind.run(&[&create[..], &["--image", Kind::IMAGE, "--config", &config]].concat());
    kind.load_app("stock");
    let use_pause = built("use-pause.tar");
    let load = ["load", "image-archive", "--name=stock"];
    kind.run(&[&load[..], &[use_pause.to_str().unwrap()]].concat());
    let (control, worker) = (kind.node("stock-control-plane"), kind.node("stock-worker"));
    let rollout = project().join("examples/rollout.yaml");
    control.apply(&fs::read_to_string(rollout).unwrap());
    let is_ours = |pod: &str| {
        start_pod(&control, pod, &worker);
        let sandbox = sandbox(&worker, pod).unwrap();
        worker.sandboxes().0.contains(&sandbox)
    };
    let label = |value: &str, set: &str| {
        let label = format!("pause.example/sandbox={value}");
        control.kubectl(&["label", "node", &worker.name, &label, "--overwrite"]);
        let of_system = |arguments: &[&str]| {
            control.kubectl(&[arguments, &["--namespace=kube-system"]].concat())
        };
        wait("a pod of the DaemonSet is available", || {
            let available = "--output=jsonpath={.status.numberAvailable}";
            of_system(&["get", &format!("daemonset/{set}"), available]) == "1"
        });
        let app = format!("--selector=app={set}");
        println!("{}", of_system(&["logs", "--container=use-pause", &app]));
    };
    assert!(!is_ours("before"));
    label("pause", "use-pause");
    assert!(is_ours("after"));
    assert!(is_pinned(&worker));
    label("before", "use-pause-undo");
    assert!(!is_ours("again"));
    let (ours, _) = control.sandboxes();
    assert!(
        ours.is_empty(),
        "switched without a label: the control plane"
    );
    kind.run(&["delete", "cluster", "--name=stock"]);
}

/// A configuration for containerd 2.x.
const VERSION_3: &str = r#"
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "registry.k8s.io/pause:3.10"
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#;

/// Nothing is left if KIND_IMAGE is no node image, or if the user interrupts `make kind`.
#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn a_cluster_that_fails_leaves_nothing() {
    let files = [("etc/containerd/config.toml", VERSION_3)];
    let kind = Kind::start("0.33", Some("containerd-2"), &files);
    let expect_nothing = || {
        assert_eq!(kind.docker.containers(), "");
        let networks = ["network", "ls", "--quiet", "--filter=name=kind"];
        assert_eq!(kind.docker.run(&networks), "");
        assert!(!mounted().exists());
    };
    kind.docker.load_app();
    let (succeeded, printed) = kind.make(APP_IMAGE);
    assert!(!succeeded);
    assert!(
        printed.contains("pause: kind created no cluster; "),
        "{printed}"
    );
    expect_nothing();

    // This kubelet cannot use containerd 2.x, so kind waits for it until it is interrupted.
    let mut make = kind.make_kind(Kind::IMAGE).spawn().unwrap();
    let worker = kind.node("pause-worker");
    let try_on_worker = |command: &str| {
        let mut exec = kind.docker.command();
        exec.args(["exec", &worker.name]).args(command.split(' '));
        text(exec.output().unwrap().stdout)
    };
    wait("containerd 2.x is configured", || {
        assert_eq!(make.try_wait().unwrap(), None);
        sleep(Duration::from_millis(200));
        let dump = try_on_worker("containerd config dump");
        let sandbox = |it: &str| it.trim() == format!("sandbox = '{IMAGE}'");
        dump.contains("version = 3") && dump.lines().any(sandbox)
    });
    wait("the image is imported", || {
        try_on_worker("ctr --namespace=k8s.io images list --quiet").contains(IMAGE)
    });
    assert!(is_pinned(&worker));
    // The child is an nsenter, which only waits for its own child in the nest.
    for entered in Processes::here().children(Pid::from_raw(make.id() as i32)) {
        kill(entered, Signal::SIGTERM).unwrap();
    }
    assert!(!make.wait().unwrap().success());
    expect_nothing();
}
