//! A standalone kubelet on containerd, with pods from manifests. `make test-kubelet` runs this: building a
//! kubelet takes minutes.

use engines::{
    engine::{APP_IMAGE, Containerd, IMAGE, example_pod},
    kubelet::{self, container, pods, sandboxes, start_kubelet},
    node::Node,
    story::Engine,
    sysctl::Sysctls,
    wait_for, wait_until,
};
use serde_json::json;
use std::{fs, thread::sleep, time::Duration};

#[test]
#[ignore = "builds a kubelet first: minutes"]
fn a_kubelet_runs_pods_with_it() {
    let _settings = Sysctls::remember();
    kubelet::tell(&Containerd::start());
}

/// use-pause switches a node while a pod runs. That pod keeps its sandbox, a new one runs on pause, and
/// `use-pause status` counts both.
#[test]
#[ignore = "builds a kubelet first: minutes"]
fn a_node_is_switched_while_pods_run() {
    let _settings = Sysctls::remember();
    let node = Node::configured("/usr/bin", "debian");
    node.systemctl("start");
    let nest = node.nest();
    nest.shares_cgroup("k8s.io");
    node.import("registry.k8s.io/pause:3.6", &["/bin/sleep", "100000"]);
    node.import(APP_IMAGE, &[]);
    let infra = format!("--pod-infra-container-image={IMAGE}");
    start_kubelet(&node.containerd, &[&infra]);

    let start_pod = |name: &str| {
        let mut pod = example_pod(&[("app", "sleep 100000")]);
        pod["metadata"]["name"] = json!(name);
        pod["spec"]["hostNetwork"] = json!(true);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
        let manifest = nest.path(&format!("manifests/{name}.json"));
        fs::write(manifest, pod.to_string()).unwrap();
        wait_until("running", || {
            container(nest, name, "app")["state"]["running"].is_object()
        });
    };
    start_pod("old");
    let old = container(nest, "old", "app");
    print!("{}", node.use_pause_said(&["--restart"]));
    start_pod("new");
    let ours = sandboxes(nest);
    assert_eq!(ours.len(), 1, "{ours:?}");
    let after = container(nest, "old", "app");
    assert_eq!(after["containerID"], old["containerID"], "another app");
    assert_eq!(after["restartCount"], 0);
    let status = node.use_pause_said(&["status"]);
    print!("{status}");
    for (program, of) in [
        ("another program", "registry.k8s.io/pause:3.6"),
        ("pause for ", IMAGE),
    ] {
        let is_it =
            |line: &str| line.starts_with("1 ") && line.contains(program) && line.ends_with(of);
        assert!(status.lines().any(is_it), "{status}");
    }

    for name in ["old", "new"] {
        fs::remove_file(nest.path(&format!("manifests/{name}.json"))).unwrap();
    }
    wait_until("gone", || {
        sandboxes(nest).is_empty() && pods(nest).is_empty()
    });
}

/// On a full disk a kubelet removes images that no container uses. containerd 1.6 does not report pins, so
/// the kubelet is told of the sandbox image, as docs/nodes.md says.
#[test]
#[ignore = "builds a kubelet first: minutes"]
fn garbage_collection_leaves_it_on_the_node() {
    let _settings = Sysctls::remember();
    let containerd = Containerd::start();
    containerd.import();
    let nest = containerd.nest();
    nest.shares_cgroup("k8s.io");
    let infra = format!("--pod-infra-container-image={IMAGE}");
    let options = [
        &infra,
        "--image-gc-high-threshold=1",
        "--image-gc-low-threshold=0",
        "--minimum-image-ttl-duration=0s",
    ];
    start_kubelet(&containerd, &options);
    // The first collection finds no disk statistics; the next comes after five minutes (ImageGCPeriod
    // in `pkg/kubelet/kubelet.go`).
    let patience = Duration::from_secs(400);
    wait_for(patience, "taken: an image without a container", || {
        sleep(Duration::from_secs(1));
        containerd.image(APP_IMAGE).is_none()
    });
    // The collection may go on with the next image.
    sleep(Duration::from_secs(5));
    assert!(containerd.image(IMAGE).is_some());
}
