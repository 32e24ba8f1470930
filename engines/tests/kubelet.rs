//! A standalone kubelet on containerd, with pods from manifests: `make test-kubelet`.

use engines::{
    engine::{APP_IMAGE, Containerd, IMAGE},
    kubelet::{Kubelet, Sysctls, run_pod},
    node::Node,
    wait_for,
};
use std::{thread::sleep, time::Duration};

#[test]
#[ignore = "builds a kubelet first: minutes"]
fn runs_pods_with_it() {
    let _sysctls = Sysctls::record();
    run_pod(&Containerd::start());
}

/// use-pause switches a node while a pod runs. That pod keeps its sandbox, a new one runs on pause, and
/// `use-pause status` counts both.
#[test]
#[ignore = "builds a kubelet first: minutes"]
fn keeps_its_pods_while_use_pause_switches_the_node() {
    let _sysctls = Sysctls::record();
    let node = Node::configured("/usr/bin", "debian");
    node.systemctl("start");
    node.import("registry.k8s.io/pause:3.6", &["/bin/sleep", "100000"]);
    node.import(APP_IMAGE, &[]);
    let infra = format!("--pod-infra-container-image={IMAGE}");
    let kubelet = Kubelet::start(&node.containerd, &[&infra]);
    let start_pod = |name| {
        kubelet.add_pod(name, &["hostNetwork: true"], &[("app", "sleep 100000")]);
        kubelet.wait_until_running(name, "app", 0);
    };
    start_pod("old");
    let old = kubelet.status("old", "app");
    print!("{}", node.use_pause_said(&["--restart"]));
    start_pod("new");
    let ours = kubelet.sandboxes();
    assert_eq!(ours.len(), 1, "{ours:?}");
    let after = kubelet.status("old", "app");
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
    kubelet.remove_pods(&["old", "new"]);
}

/// On a full disk a kubelet removes images that no container uses. containerd 1.6 does not report pins, so
/// an option of the kubelet names the sandbox image, as docs/nodes.md says.
#[test]
#[ignore = "builds a kubelet first: minutes"]
fn keeps_the_image_when_it_collects_garbage() {
    let _sysctls = Sysctls::record();
    let containerd = Containerd::start();
    containerd.import();
    let infra = format!("--pod-infra-container-image={IMAGE}");
    let options = [
        &infra,
        "--image-gc-high-threshold=1",
        "--image-gc-low-threshold=0",
        "--minimum-image-ttl-duration=0s",
    ];
    let _kubelet = Kubelet::start(&containerd, &options);
    // The first collection finds no disk statistics; the next comes after five minutes (ImageGCPeriod
    // in `pkg/kubelet/kubelet.go`).
    let patience = Duration::from_secs(400);
    wait_for(patience, "an image without a container is removed", || {
        sleep(Duration::from_secs(1));
        containerd.image(APP_IMAGE).is_none()
    });
    // The collection may go on with the next image.
    sleep(Duration::from_secs(5));
    assert!(containerd.image(IMAGE).is_some());
}
