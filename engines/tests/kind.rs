//! kind clusters, created as a user creates them: `make test-kind`.

use engines::{
    Processes, built,
    engine::{APP_IMAGE, Cli, IMAGE, Podman, example_pod},
    kind::{Container, Kind, Node, build_image, command, mounted, own_node},
    kubelet::Sysctls,
    output, project,
    story::{Engine, zombies},
    wait_for,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
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

/// Waits until a worker that was started again has pods, all of them on pause. Returns how many.
fn wait_until_back(worker: &Node) -> usize {
    // ctr 2.x ends if its socket is not there yet.
    wait("containerd answers", || {
        worker.try_run(&["ctr", "version"]).contains("Server:")
    });
    let count = wait_until_ours(worker);
    assert!(is_pinned(worker));
    count
}

/// Checks all that `make kind` promises. (kubelet.rs kills apps and sandboxes.)
fn run_cluster(kind: &Kind) -> (Node<'_>, Node<'_>) {
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
    wait_until_back(&worker);
    wait("the pod is back", || {
        sandbox(&worker, "story").is_some_and(|now| now.id != before.id)
    });
    wait_until_ready(&control, "story");
    let count = wait_until_ours(&worker);
    println!("the worker was restarted, and its {count} pods are back on pause");
    (control, worker)
}

/// Deletes the cluster of `make kind`, of which nothing is left.
fn delete_cluster(kind: &Kind) {
    kind.run(&["delete", "cluster", "--name=pause"]);
    assert_eq!(kind.docker.containers(), "");
    assert_eq!(kind.docker.run(&["volume", "ls", "--quiet"]), "");
}

#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn own_image_on_kind_0_27() {
    let kind = Kind::start_with("0.27", &own_node(), Some("containerd-1.7"), &[]);
    run_cluster(&kind);
    delete_cluster(&kind);
}

/// What `make kind` runs, with Debian 13's podman. The release has no make.
#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn own_image_on_podman() {
    let _sysctls = Sysctls::record();
    let podman = Podman::for_kind("trixie");
    build_image(&podman, &own_node(), None, &[]);
    let command = |program: &str| {
        let mut command = podman.configure(command(podman.nest(), "0.27"));
        command.arg("KIND_EXPERIMENTAL_PROVIDER=podman");
        // The nodes are on one bridge.
        command.args(["NETAVARK_FW=none", program]);
        command
    };
    let up = project().join("examples/kind/up");
    let mut up = command(up.to_str().unwrap());
    up.env("KIND_IMAGE", format!("localhost/{}", Kind::IMAGE));
    let printed = output(up.arg(IMAGE).arg(mounted().parent().unwrap()));
    println!("{printed}");
    for ours in ["pause-worker: 1 of 1", "pause-control-plane: 7 of 7"] {
        assert!(printed.contains(&format!("pause: {ours} sandboxes run pause")));
    }
    output(command("kind").args(["delete", "cluster", "--name=pause"]));
    assert_eq!(podman.containers(), "");
    assert_eq!(podman.run(&["volume", "ls", "--quiet"]), "");
}

/// What else a pod and a node go through. Each step names the first minor version of Kubernetes that has it by
/// default; on an older node the output says so instead.
#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn any_image_runs_pods_on_pause() {
    let kind = Kind::start("0.33");
    let (control, worker) = run_cluster(&kind);
    let version = worker.run(&["kubelet", "--version"]);
    println!("{version} on {}", worker.run(&["containerd", "--version"]));
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    let has = |since: u32, what: &str| {
        if minor < since {
            println!("not run: {what}: from 1.{since} on, and this node is of 1.{minor}");
        }
        minor >= since
    };
    for (what, since, pod, script, answer) in pods() {
        if has(since, what) {
            run_pod(&control, &worker, &pod, script, answer);
            println!("{what}: {answer}");
        }
    }

    // It refuses cgroups of version 1 from 1.35 on.
    let ignore = "--ignore-preflight-errors=SystemVerification";
    worker.run(&["kubeadm", "upgrade", "node", ignore]);
    worker.run(&["systemctl", "restart", "containerd", "kubelet"]);
    start_pod(&control, "upgraded", &worker);
    wait_until_ours(&worker);
    assert!(is_pinned(&worker));
    println!("kubeadm upgraded the worker, and a new pod is on pause");

    let set = |edit: &str| {
        worker.run(&["sed", "--in-place", edit, "/var/lib/kubelet/config.yaml"]);
        worker.run(&["systemctl", "restart", "kubelet"]);
    };
    // kind's own node image has no D-Bus.
    if worker.try_run(&["systemd-inhibit", "--list"]).is_empty() {
        println!("not run: graceful node shutdown: the node has no logind");
    } else {
        // An alpha feature of 1.20, and on by default since.
        let gate = r"\nfeatureGates: {GracefulNodeShutdown: true}";
        let gate = if minor > 20 { "" } else { gate };
        let periods = r"shutdownGracePeriod: 20s\nshutdownGracePeriodCriticalPods: 10s";
        set(&format!("/^shutdownGracePeriod/d; $a{periods}{gate}"));
        shut_down(&kind, &control, &worker);
    }
    if has(35, "imagePullCredentialsVerificationPolicy: AlwaysVerify") {
        let policy = "imagePullCredentialsVerificationPolicy";
        set(&format!("/^{policy}/d; $a{policy}: AlwaysVerify"));
        control.apply(&pod(
            "verified",
            &worker,
            &json!({"containers": [app("sleep 100000")]}),
        ));
        wait("its sandbox runs pause, without its app", || {
            let sandbox = sandbox(&worker, "verified");
            sandbox.is_some_and(|it| worker.sandboxes().0.contains(&it))
        });
        let reason = "--output=jsonpath={.status.containerStatuses[*].state.waiting.reason}";
        wait("the app's image is refused", || {
            control.kubectl(&["get", "pod/verified", reason]) == "ErrImageNeverPull"
        });
        println!("AlwaysVerify: the app's image is refused, the sandbox's is not");
    }
    control.kubectl(&["delete", "pod", "--all", "--now"]);
    if has(30, "crictl rmi --prune spares pinned images") {
        // A pod's containers go a while after it.
        wait("the app's image is removed", || {
            worker.run(&["crictl", "rmi", "--prune"]);
            !worker.has_image(APP_IMAGE)
        });
        assert!(worker.has_image(IMAGE));
        println!("crictl rmi --prune removed {APP_IMAGE}, and kept {IMAGE}");
        kind.load_app("pause");
    }
    if has(29, "garbage collection spares pinned images") {
        // Any disk is full now.
        set(
            "s/s.available: 0%/s.available: 99.99%/; s/^imageMinimumGCAge: .*/imageMinimumGCAge: 1ms/",
        );
        wait("the kubelet removes an image without a container", || {
            !worker.has_image(APP_IMAGE)
        });
        assert!(worker.has_image(IMAGE));
        println!("the kubelet removed {APP_IMAGE}, and kept {IMAGE}");
    }
    delete_cluster(&kind);
}

/// Shuts a node down whose kubelet gives its pods time. The app takes two seconds to end; without pause, the
/// first process of its PID namespace, the kernel would kill it.
fn shut_down(kind: &Kind, control: &Node, worker: &Node) {
    let mut slow = app("trap 'sleep 2; ps >/marks/ended; exit' TERM; while :; do sleep 0.1; done");
    slow["volumeMounts"] = json!([{"name": "marks", "mountPath": "/marks"}]);
    let marks =
        json!({"name": "marks", "hostPath": {"path": "/var/marks", "type": "DirectoryOrCreate"}});
    let spec = json!({"shareProcessNamespace": true, "containers": [slow], "volumes": [marks]});
    control.apply(&pod("slow", worker, &spec));
    wait_until_ready(control, "slow");
    let sandbox = sandbox(worker, "slow").unwrap();
    assert!(worker.sandboxes().0.contains(&sandbox));
    wait("the kubelet delays a shutdown", || {
        let inhibitors = worker.try_run(&["systemd-inhibit", "--list"]);
        inhibitors.contains("kubelet")
    });
    let before = kind.docker.pid(&worker.name);
    worker.try_run(&["systemctl", "poweroff"]);
    wait("the node ends", || kind.docker.pid(&worker.name) != before);
    // docker restarts it by itself, but only once.
    kind.docker.run(&["start", &worker.name]);
    let count = wait_until_back(worker);
    let ended = worker.run(&["cat", "/var/marks/ended"]);
    assert!(ended.contains("/pause"), "{ended}");
    // systemd, which ends what the kubelet does not, leaves no message.
    let message =
        r#"{.status.message} {.status.conditions[?(@.type=="DisruptionTarget")].message}"#;
    let message = format!("--output=jsonpath={message}");
    let message = control.kubectl(&["get", "pod/slow", &message]);
    assert!(message.contains("shut"), "{message}");
    let message = message.trim();
    println!("{message} Its slow app had ended, and {count} pods are back on pause");
}

fn app(script: &str) -> Value {
    json!({
        "name": "app", "image": APP_IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script],
    })
}

/// A manifest: a pod of that name on a node.
fn pod(name: &str, node: &Node, spec: &Value) -> String {
    let mut spec = spec.clone();
    spec["nodeName"] = json!(node.name);
    let metadata = json!({"name": name});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).to_string()
}

/// Kinds of pods: the name, the first minor version, the spec, a script for the app, and what this prints.
fn pods() -> [(&'static str, u32, Value, &'static str, &'static str); 6] {
    let mut sidecar = app("sleep 54321");
    sidecar["name"] = json!("sidecar");
    sidecar["restartPolicy"] = json!("Always");
    let mut small = app("sleep 100000");
    small["resources"] = json!({"limits": {"memory": "8Mi"}});
    // Leaves a mark, and fails once.
    let mut failing = app("[ -e /marks/failed ] || { : >/marks/failed; exit 42; }; sleep 100000");
    failing["name"] = json!("failing");
    failing["restartPolicy"] = json!("Never");
    let exit_codes = json!({"operator": "In", "values": [42]});
    failing["restartPolicyRules"] =
        json!([{"action": "RestartAllContainers", "exitCodes": exit_codes}]);
    let mut counted = app("echo started >>/marks/starts; sleep 100000");
    for app in [&mut failing, &mut counted] {
        app["volumeMounts"] = json!([{"name": "marks", "mountPath": "/marks"}]);
    }
    let stays = app("sleep 100000");
    [
        (
            "hostPID",
            0,
            json!({"hostPID": true, "containers": [stays]}),
            "ps",
            "kubelet",
        ),
        (
            "a memory limit of 8 MiB",
            0,
            json!({"shareProcessNamespace": true, "containers": [small]}),
            "ps",
            "/pause",
        ),
        (
            "a sidecar",
            29,
            json!({"shareProcessNamespace": true, "initContainers": [sidecar], "containers": [stays]}),
            "ps",
            "sleep 54321",
        ),
        (
            "hostUsers: false",
            33,
            json!({"hostUsers": false, "containers": [stays]}),
            "read -r _ outside _ </proc/self/uid_map; [ $outside = 0 ] || echo mapped",
            "mapped",
        ),
        (
            "8 MiB for the whole pod",
            34,
            json!({
                "shareProcessNamespace": true, "resources": {"limits": {"memory": "8Mi"}},
                "containers": [stays],
            }),
            "ps",
            "/pause",
        ),
        (
            "RestartAllContainers",
            36,
            json!({"containers": [counted, failing], "volumes": [{"name": "marks", "emptyDir": {}}]}),
            "n=0; while read -r _; do n=$((n + 1)); done </marks/starts; echo $n starts",
            "2 starts",
        ),
    ]
}

/// Runs a pod until a script in its app prints that. All along it has one sandbox, which runs pause.
fn run_pod(control: &Node, worker: &Node, spec: &Value, script: &str, answer: &str) {
    control.apply(&pod("pod", worker, spec));
    wait("it has a sandbox", || sandbox(worker, "pod").is_some());
    let before = sandbox(worker, "pod");
    wait(&format!("{answer} is printed"), || {
        let exec = ["exec", "pod", "--container=app", "--", "sh", "-c", script];
        control.try_kubectl(&exec).contains(answer)
    });
    assert_eq!(sandbox(worker, "pod"), before);
    let sandbox = before.unwrap();
    assert!(worker.sandboxes().0.contains(&sandbox));
    let processes = worker.processes();
    let is_first = processes.status(sandbox.pid, "NSpid").ends_with("\t1");
    assert_eq!(is_first, spec["hostPID"] != true);
    // Where the warning of one that is not the first goes.
    let stderr = format!("/proc/{}/fd/2", sandbox.pid);
    assert_eq!(worker.run(&["readlink", &stderr]), "/dev/null");
    control.kubectl(&["delete", "pod/pod", "--now"]);
}

/// On a cluster with stock sandboxes, a label switches the worker, and another switches it back.
#[test]
#[ignore = "builds Kubernetes first: minutes"]
fn any_image_is_switched_by_rollout_yaml() {
    let kind = Kind::start("0.33");
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
fn own_image_leaves_nothing_of_a_cluster_that_fails() {
    let files = [("etc/containerd/config.toml", VERSION_3)];
    let kind = Kind::start_with("0.33", &own_node(), Some("containerd-2"), &files);
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
        let words: Vec<&str> = command.split(' ').collect();
        worker.try_run(&words)
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
