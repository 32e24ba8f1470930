//! kind clusters, made the way a user makes them. `make test-kind` runs this: building Kubernetes takes
//! minutes.

use engines::{
    Processes, built,
    engine::{APP_IMAGE, Cli, IMAGE, app_archive, example_pod},
    kind::{Kind, Node, folder},
    project,
    story::{Engine, zombies},
    text, wait_for,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{fs, thread::sleep, time::Duration};

/// How long a step of a cluster may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until a node has sandboxes and all run pause. Returns how many.
fn wait_until_ours(node: &Node) -> usize {
    let mut count = 0;
    let what = format!("ours: all sandboxes of {}", node.name);
    wait_for(PATIENCE, &what, || {
        let (ours, others) = node.sandboxes();
        count = ours.len();
        count > 0 && others.is_empty()
    });
    count
}

/// A pod on a node, whose app prints its network namespace, leaves five orphans that die, and runs on.
fn pod(name: &str, node: &str) -> Value {
    let script =
        "readlink /proc/self/ns/net; for i in 1 2 3 4 5; do (sleep 0.1 &); done; sleep 100000";
    let mut pod = example_pod(&[("app", script)]);
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["nodeName"] = json!(node);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    pod
}

fn wait_until_ready(control: &Node, pod: &str) {
    let pod = format!("pod/{pod}");
    control.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", &pod]);
}

/// A field of a pod, given as a jsonpath.
fn told(control: &Node, pod: &str, what: &str) -> String {
    control.kubectl(&["get", "pod", pod, &format!("--output=jsonpath={{{what}}}")])
}

/// Checks all that `make kind` promises, and a pod's life on the cluster.
fn tell(kind: &Kind) {
    let (control, worker) = (kind.node("pause-control-plane"), kind.node("pause-worker"));
    let (is_made, said) = kind.make(Kind::IMAGE);
    println!("{said}");
    assert!(is_made);
    for node in [&control, &worker] {
        let (name, count) = (&node.name, wait_until_ours(node));
        let line = format!("pause: {name}: {count} of {count} sandboxes run pause");
        assert!(said.contains(&line), "{line}");
        assert!(is_pinned(node), "{name}");
    }
    let (is_made, said) = kind.make(Kind::IMAGE);
    assert!(!is_made, "a second cluster of the same name: {said}");
    assert!(said.contains("kind delete cluster --name pause"), "{said}");
    assert!(folder().exists(), "the folder that the nodes mount is gone");

    let app = app_archive(kind.docker.nest());
    kind.run(&["load", "image-archive", "--name=pause", &app]);
    control.apply(&pod("story", &worker.name).to_string());
    wait_until_ready(&control, "story");
    let of_pod = [("pod.name", "story")];
    let sandbox = || worker.containers("sandbox", &of_pod).pop().unwrap();
    let first = sandbox();
    let network = control.kubectl(&["logs", "story"]);
    let address = told(&control, "story", ".status.podIP");
    assert!(network.starts_with("net:["), "{network}");
    sleep(Duration::from_millis(500));
    assert_eq!(zombies(&worker.processes(), first.pid), 0);
    println!("five orphans, no zombie; {address} in {network}");

    let app = worker.containers("container", &of_pod).pop().unwrap();
    worker.run(&["kill", "-9", &app.pid.to_string()]);
    let restarts = ".status.containerStatuses[0].restartCount";
    wait_for(PATIENCE, "restarted: the app", || {
        told(&control, "story", restarts) == "1"
    });
    wait_until_ready(&control, "story");
    assert_eq!(sandbox(), first);
    assert_eq!(told(&control, "story", ".status.podIP"), address);
    assert_eq!(control.kubectl(&["logs", "story"]), network);
    println!("the app was killed, and came back to the same network");

    worker.run(&["kill", "-9", &first.pid.to_string()]);
    wait_for(PATIENCE, "made again: the sandbox", || {
        let now = worker.containers("sandbox", &of_pod).pop();
        now.is_some_and(|it| it.id != first.id) && told(&control, "story", restarts) == "2"
    });
    wait_until_ready(&control, "story");
    wait_until_ours(&worker);
    println!("the sandbox was killed, and there is another");

    let before = sandbox();
    kind.docker.run(&["restart", &worker.name]);
    wait_for(PATIENCE, "back: the pod", || {
        let now = worker.containers("sandbox", &of_pod).pop();
        now.is_some_and(|it| it.id != before.id)
    });
    wait_until_ready(&control, "story");
    let count = wait_until_ours(&worker);
    assert!(is_pinned(&worker));
    println!("the worker was restarted, and its {count} pods are back on pause");

    kind.run(&["delete", "cluster", "--name=pause"]);
    assert_eq!(kind.docker.containers(), "");
    assert_eq!(kind.docker.run(&["volume", "ls", "--quiet"]), "");
}

fn is_pinned(node: &Node) -> bool {
    let images = node.run(&["ctr", "--namespace=k8s.io", "images", "list"]);
    let name = format!("{IMAGE} ");
    let image = images.lines().find(|it| it.starts_with(&name)).unwrap();
    image.contains("io.cri-containerd.pinned=pinned")
}

#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn kind_0_27() {
    tell(&Kind::start("0.27", None, &[]));
}

#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn kind_0_33() {
    tell(&Kind::start("0.33", Some("containerd-1.7"), &[]));
}

/// On a cluster with stock sandboxes, a label switches the worker, and another switches it back.
#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn rollout_yaml_switches_a_labelled_worker() {
    let kind = Kind::start("0.33", None, &[]);
    let nodes = json!({
        "kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane"}, {"role": "worker"}],
    });
    let config = kind.docker.nest().path("stock.yaml");
    // JSON is YAML.
    fs::write(&config, nodes.to_string()).unwrap();
    let create = ["create", "cluster", "--name=stock", "--wait=120s"];
    kind.run(&[&create[..], &["--image", Kind::IMAGE, "--config", &config]].concat());
    let app = app_archive(kind.docker.nest());
    for archive in [&app, built("use-pause.tar").to_str().unwrap()] {
        kind.run(&["load", "image-archive", "--name=stock", archive]);
    }
    let (control, worker) = (kind.node("stock-control-plane"), kind.node("stock-worker"));
    let rollout = project().join("examples/rollout.yaml");
    control.apply(&fs::read_to_string(rollout).unwrap());
    let is_ours = |pod: &str| {
        control.apply(&self::pod(pod, &worker.name).to_string());
        wait_until_ready(&control, pod);
        let mut sandboxes = worker.containers("sandbox", &[("pod.name", pod)]);
        worker.sandboxes().0.contains(&sandboxes.pop().unwrap())
    };
    let label = |value: &str, set: &str| {
        let label = format!("pause.example/sandbox={value}");
        control.kubectl(&["label", "node", &worker.name, &label, "--overwrite"]);
        let of_system = |arguments: &[&str]| {
            control.kubectl(&[arguments, &["--namespace=kube-system"]].concat())
        };
        wait_for(PATIENCE, "available: a pod of the DaemonSet", || {
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

/// Nothing is left behind if KIND_IMAGE is no node image, or if the user interrupts `make kind`.
#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn nothing_is_left_of_a_cluster_that_is_not_made() {
    let files = [("etc/containerd/config.toml", VERSION_3)];
    let kind = Kind::start("0.33", Some("containerd-2"), &files);
    let is_gone = || {
        assert_eq!(kind.docker.containers(), "");
        let networks = ["network", "ls", "--quiet", "--filter=name=kind"];
        assert_eq!(kind.docker.run(&networks), "");
        assert!(!folder().exists());
    };
    kind.docker.load_app();
    let (is_made, said) = kind.make(APP_IMAGE);
    println!("{said}");
    assert!(!is_made);
    assert!(said.contains("pause: kind made no cluster; "), "{said}");
    is_gone();

    // This kubelet cannot talk to containerd 2.x, so kind waits for it until it is interrupted.
    let mut make = kind.make_kind(Kind::IMAGE).spawn().unwrap();
    let worker = kind.node("pause-worker");
    let try_on_worker = |command: &str| {
        let mut exec = kind.docker.command();
        exec.args(["exec", &worker.name]).args(command.split(' '));
        text(exec.output().unwrap().stdout)
    };
    wait_for(PATIENCE, "configured: containerd 2.x", || {
        assert_eq!(make.try_wait().unwrap(), None);
        sleep(Duration::from_millis(200));
        let dump = try_on_worker("containerd config dump");
        let sandbox = |it: &str| it.trim() == format!("sandbox = '{IMAGE}'");
        dump.contains("version = 3") && dump.lines().any(sandbox)
    });
    wait_for(PATIENCE, "imported: the image", || {
        try_on_worker("ctr --namespace=k8s.io images list --quiet").contains(IMAGE)
    });
    assert!(is_pinned(&worker));
    // The child is an nsenter, which only waits for its own child in the nest.
    for entered in Processes::here().children(Pid::from_raw(make.id() as i32)) {
        kill(entered, Signal::SIGTERM).unwrap();
    }
    assert!(!make.wait().unwrap().success());
    is_gone();
}
