//! A standalone kubelet on containerd, with pods from manifests: `make test-kubelet`.

use engines::{
    engine::{APP_IMAGE, Containerd, IMAGE},
    kubelet::{Kubelet, Sysctls, containerd, run_pod},
    node::Node,
    output, wait_for,
};
use serde_json::json;
use std::{thread::sleep, time::Duration};

#[test]
#[ignore = "builds a kubelet first: minutes"]
fn runs_pods_with_it() {
    let _sysctls = Sysctls::record();
    run_pod(&Containerd::start_at(containerd()));
}

/// use-pause switches a node while a pod runs. That pod keeps its sandbox, a new one runs on pause, and
/// `use-pause status` counts both.
#[test]
#[ignore = "builds a kubelet first: minutes"]
fn keeps_its_pods_while_use_pause_switches_the_node() {
    let _sysctls = Sysctls::record();
    let node = Node::configured(containerd(), "debian");
    node.systemctl("start");
    let dump = output(node.command("containerd").args(["config", "dump"]));
    let image = |line: &str| match line.trim().split_once(" = ")? {
        ("sandbox_image" | "sandbox", value) => Some(value.trim_matches(['"', '\'']).to_owned()),
        _ => None,
    };
    let stock = dump.lines().find_map(image).unwrap();
    node.import(&stock, &["/bin/sleep", "100000"]);
    node.import(APP_IMAGE, &[]);
    let kubelet = Kubelet::start(&node.containerd, json!({}));
    let start_pod = |name| {
        kubelet.add_pod(name, &["hostNetwork: true"], &[("app", "sleep 100000")]);
        kubelet.wait_until_running(name, "app", 0);
    };
    start_pod("old");
    let old = kubelet.status("old", "app");
    print!("{}", node.use_pause_succeeds(&["--restart"]));
    start_pod("new");
    let ours = kubelet.sandboxes();
    assert_eq!(ours.len(), 1, "{ours:?}");
    let after = kubelet.status("old", "app");
    assert_eq!(after["containerID"], old["containerID"], "another app");
    assert_eq!(after["restartCount"], 0);
    let status = node.use_pause_succeeds(&["status"]);
    print!("{status}");
    for (program, of) in [("another program", &*stock), ("pause for ", IMAGE)] {
        let is_it =
            |line: &str| line.starts_with("1 ") && line.contains(program) && line.ends_with(of);
        assert!(status.lines().any(is_it), "{status}");
    }
    kubelet.remove_pods(&["old", "new"]);
}

/// On a full disk a kubelet removes images that no container uses, but not the sandbox image. Any disk is
/// full for this one.
#[test]
#[ignore = "builds a kubelet first: minutes"]
fn keeps_the_image_when_it_collects_garbage() {
    let _sysctls = Sysctls::record();
    let containerd = Containerd::start_at(containerd());
    containerd.import();
    let full = json!({"nodefs.available": "99.99%", "imagefs.available": "99.99%"});
    let config = json!({"evictionHard": full, "imageMinimumGCAge": "1ms"});
    let _kubelet = Kubelet::start(&containerd, config);
    wait_for(
        Duration::from_secs(120),
        "an image without a container is removed",
        || {
            sleep(Duration::from_secs(1));
            containerd.image(APP_IMAGE).is_none()
        },
    );
    // The collection may go on with the next image.
    sleep(Duration::from_secs(5));
    assert!(containerd.image(IMAGE).is_some());
}
