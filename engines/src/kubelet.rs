//! A standalone kubelet that runs pods from manifests.

use crate::{
    Processes, built,
    engine::{Containerd, Nest, example_pod},
    output,
    program::NATIVE_ARCH,
    said,
    story::Engine,
    wait_until,
};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;

/// Starts a standalone kubelet in the nest of its runtime. `more` are further options of its command.
pub fn start_kubelet(containerd: &Containerd, more: &[&str]) {
    let nest = containerd.nest();
    for arguments in [
        "link add node type bridge",
        "addr add 10.98.0.1/24 dev node",
        "link set node up",
        "route add default via 10.98.0.2",
    ] {
        output(nest.command("ip").args(arguments.split(' ')));
    }
    fs::create_dir(nest.path("manifests")).unwrap();
    let config = json!({
        "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false, "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "1Mi"},
        "failSwapOn": false, "maxOpenFiles": 20000, "makeIPTablesUtilChains": false,
        "oomScoreAdj": 0, "readOnlyPort": 10255, "registerNode": false,
        "staticPodPath": nest.path("manifests"), "fileCheckFrequency": "1s", "syncFrequency": "1s",
        "volumePluginDir": nest.path("plugins"),
    });
    let path = nest.path("kubelet.yaml");
    // JSON is YAML.
    fs::write(&path, config.to_string()).unwrap();
    let kubelet = built(&format!("kubelet/{NATIVE_ARCH}/kubelet"));
    let mut daemon = nest.daemon(kubelet.to_str().unwrap());
    daemon.args(["--config", &path, "--container-runtime=remote"]);
    daemon.arg(format!(
        "--container-runtime-endpoint=unix://{}",
        containerd.socket
    ));
    daemon.args(["--hostname-override=node", "--node-ip=10.98.0.1"]);
    daemon.args(more);
    daemon.args(["--root-dir", &nest.path("kubelet")]);
    daemon.args(["--cert-dir", &nest.path("certificates")]);
    let mut ready = nest.command("bash");
    ready.args(["-c", ": < /dev/tcp/127.0.0.1/10255"]);
    nest.start_daemon("kubelet", daemon, ready);
}

/// The pods that the kubelet lists on its read-only port.
pub fn pods(nest: &Nest) -> Vec<Value> {
    let ask = "exec 3<>/dev/tcp/127.0.0.1/10255; printf 'GET /pods HTTP/1.0\r\n\r\n' >&3; cat <&3";
    let answer = said(nest.command("bash").args(["-c", ask]));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    body["items"].as_array().cloned().unwrap_or_default()
}

/// The kubelet's status of a container, or null. `pod` is the pod's name in its manifest.
pub fn container(nest: &Nest, pod: &str, container: &str) -> Value {
    // Kubelets append the node's name to a static pod's.
    let name = format!("{pod}-node");
    let is_meant = |it: &&Value| it["metadata"]["name"] == name;
    let pods = pods(nest);
    let pod = pods.iter().find(is_meant).unwrap_or(&Value::Null);
    let statuses = pod["status"]["containerStatuses"].as_array();
    let mut statuses = statuses.into_iter().flatten();
    let status = statuses.find(|it| it["name"] == container);
    status.cloned().unwrap_or_default()
}

/// The processes of the nest that run pause.
pub fn sandboxes(nest: &Nest) -> Vec<Pid> {
    let processes = Processes(nest.proc());
    let all = processes.all();
    all.filter(|pid| processes.runs_pause(*pid)).collect()
}

/// A pod's life on a node: the pod starts, an app of it fails and is restarted, its sandbox is killed and
/// made again, and the pod goes with its manifest.
pub fn tell(containerd: &Containerd) {
    containerd.import();
    let nest = containerd.nest();
    nest.shares_cgroup("k8s.io");
    start_kubelet(containerd, &[]);

    // One app runs on, one fails again and again.
    let flaky = "readlink /proc/self/ns/net; sleep 1; exit 3";
    let mut pod = example_pod(&[("steady", "sleep 100000"), ("flaky", flaky)]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    let manifest = nest.path("manifests/pod.json");
    fs::write(&manifest, pod.to_string()).unwrap();
    let status = |name| container(nest, "pod", name);
    let restarts = |name| status(name)["restartCount"].as_u64().unwrap_or(0);

    wait_until("running", || {
        status("steady")["state"]["running"].is_object()
    });
    let first = sandboxes(nest);
    assert_eq!(first.len(), 1, "{first:?}");
    // Under the runtime's default profile, as docs/nodes.md says.
    let seccomp = Processes(nest.proc()).status(first[0], "Seccomp");
    assert_eq!(seccomp, "2");
    wait_until("restarted: the flaky app", || restarts("flaky") >= 1);
    assert_eq!(sandboxes(nest), first, "another sandbox");
    assert_eq!(restarts("steady"), 0);
    println!("the flaky app was restarted, in the same sandbox");

    nest.kill(first[0]);
    wait_until("made again: the sandbox", || {
        let now = sandboxes(nest);
        now.len() == 1 && now != first
    });
    wait_until("running again", || {
        let steady = status("steady");
        steady["state"]["running"].is_object() && steady["restartCount"] == 1
    });
    println!("the sandbox was killed, and the kubelet made another");

    fs::remove_file(manifest).unwrap();
    wait_until("gone", || {
        sandboxes(nest).is_empty() && pods(nest).is_empty()
    });
    println!("the manifest was removed, and the pod is gone");
}
