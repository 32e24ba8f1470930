//! A standalone kubelet that runs pods from manifests.

use crate::{
    Processes, built,
    engine::{Containerd, IMAGE, Nest, example_pod},
    output,
    program::NATIVE_ARCH,
    story::Engine,
    wait_until,
};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::{
    env, fs, path::PathBuf, process::Command, sync::LazyLock, thread::sleep, time::Duration,
};

/// Machine-wide sysctls that a kubelet changes, whatever its configuration says, with their values. Drop
/// restores them.
pub struct Sysctls(Vec<(PathBuf, String)>);

impl Sysctls {
    /// Records the present values.
    pub fn record() -> Self {
        let changed = [
            "kernel/keys/root_maxbytes",
            "kernel/keys/root_maxkeys",
            "kernel/panic",
            "kernel/panic_on_oops",
            "vm/overcommit_memory",
            "vm/panic_on_oom",
        ];
        let files = changed.map(|name| PathBuf::from("/proc/sys").join(name));
        Self(
            files
                .map(|file| (file.clone(), fs::read_to_string(file).unwrap()))
                .into(),
        )
    }
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        for (file, value) in &self.0 {
            fs::write(file, value).unwrap();
        }
    }
}

/// The kubelet that `make test-kubelet KUBELET=` names, or the one that make builds.
fn kubelet() -> PathBuf {
    let named = env::var_os("KUBELET").map(PathBuf::from);
    named.unwrap_or_else(|| built(&format!("kubelet/{NATIVE_ARCH}/kubelet")))
}

static HELP: LazyLock<String> = LazyLock::new(|| output(Command::new(kubelet()).arg("--help")));

fn has_flag(flag: &str) -> bool {
    HELP.contains(&format!(" {flag} "))
}

/// The directory of the containerd that the kubelet can use: the machine's 1.x has the CRI of kubelets that
/// still choose among runtimes (1.26 and older), 2.x has all that the newest require.
pub fn containerd() -> PathBuf {
    match has_flag("--container-runtime") {
        true => "/usr/bin".into(),
        false => built("containerd-2"),
    }
}

/// A kubelet in the nest of its runtime.
pub struct Kubelet<'a>(&'a Nest);

impl<'a> Kubelet<'a> {
    /// Starts a kubelet. `more` are fields of its configuration.
    pub fn start(containerd: &'a Containerd, more: Value) -> Self {
        let nest = containerd.nest();
        nest.shares_cgroup("k8s.io");
        for arguments in [
            "link add node type bridge",
            "addr add 10.98.0.1/24 dev node",
            "link set node up",
            "route add default via 10.98.0.2",
        ] {
            output(nest.command("ip").args(arguments.split(' ')));
        }
        fs::create_dir(nest.path("manifests")).unwrap();
        let endpoint = format!("unix://{}", containerd.socket);
        // A kubelet only warns about fields that it does not know.
        let mut config = json!({
            "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "containerRuntimeEndpoint": endpoint, "failCgroupV1": false,
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false, "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "1Mi"},
            "failSwapOn": false, "maxOpenFiles": 20000, "makeIPTablesUtilChains": false,
            "oomScoreAdj": 0, "readOnlyPort": 10255, "registerNode": false,
            "staticPodPath": nest.path("manifests"), "fileCheckFrequency": "1s", "syncFrequency": "1s",
            "volumePluginDir": nest.path("plugins"),
        });
        let more = more.as_object().cloned().unwrap_or_default();
        config.as_object_mut().unwrap().extend(more);
        let path = nest.path("kubelet.yaml");
        fs::write(&path, config.to_string()).unwrap(); // JSON is YAML
        let mut daemon = nest.daemon(kubelet().to_str().unwrap());
        daemon.args(["--config", &path]);
        for (flag, value) in [
            ("--container-runtime", "remote"),
            ("--container-runtime-endpoint", &*endpoint),
            // From a kubelet before 1.29, only this protects the image, as docs/nodes.md says.
            ("--pod-infra-container-image", IMAGE),
        ] {
            if has_flag(flag) {
                daemon.args([flag, value]);
            }
        }
        daemon.args(["--hostname-override=node", "--node-ip=10.98.0.1"]);
        daemon.args(["--root-dir", &nest.path("kubelet")]);
        daemon.args(["--cert-dir", &nest.path("certificates")]);
        let mut ready = nest.command("bash");
        ready.args(["-c", ": < /dev/tcp/127.0.0.1/10255"]);
        nest.start_daemon("kubelet", daemon, ready);
        Self(nest)
    }

    /// Writes a manifest of the pod of examples/pod.yaml. `more` are lines for its spec.
    pub fn add_pod(&self, pod: &str, more: &[&str], apps: &[(&str, &str)]) {
        let more = [more, &["terminationGracePeriodSeconds: 1"]].concat();
        fs::write(self.manifest(pod), example_pod(pod, &more, apps)).unwrap();
    }

    /// Removes the pods' manifests, and waits until the pods are gone.
    pub fn remove_pods(&self, pods: &[&str]) {
        for pod in pods {
            fs::remove_file(self.manifest(pod)).unwrap();
        }
        wait_until("the pods are gone", || {
            self.sandboxes().is_empty() && self.pods().is_empty()
        });
    }

    fn manifest(&self, pod: &str) -> String {
        self.0.path(&format!("manifests/{pod}.yaml"))
    }

    /// The pods that the kubelet lists on its read-only port.
    fn pods(&self) -> Vec<Value> {
        // Leaves the processor to the kubelet: callers ask again and again.
        sleep(Duration::from_millis(50));
        let ask =
            "exec 3<>/dev/tcp/127.0.0.1/10255; printf 'GET /pods HTTP/1.0\r\n\r\n' >&3; cat <&3";
        let answer = output(self.0.command("bash").args(["-c", ask]));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        body["items"].as_array().cloned().unwrap_or_default()
    }

    /// The kubelet's status of a container, or null.
    pub fn status(&self, pod: &str, container: &str) -> Value {
        // Kubelets append the node's name to a static pod's.
        let name = format!("{pod}-node");
        let mut pods = self.pods().into_iter();
        let pod = pods.find(|it| it["metadata"]["name"] == name);
        let pod = pod.unwrap_or_default();
        let mut statuses = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten();
        let status = statuses.find(|it| it["name"] == container);
        status.cloned().unwrap_or_default()
    }

    /// Waits until a container runs after `restarts` restarts.
    pub fn wait_until_running(&self, pod: &str, container: &str, restarts: u64) {
        wait_until(&format!("{container} runs"), || {
            let status = self.status(pod, container);
            status["state"]["running"].is_object() && status["restartCount"] == restarts
        });
    }

    /// The processes of the nest that run pause.
    pub fn sandboxes(&self) -> Vec<Pid> {
        let processes = Processes(self.0.proc());
        let all = processes.all();
        all.filter(|pid| processes.runs_pause(*pid)).collect()
    }
}

/// A pod's life on a node: the pod starts, an app of it fails and is restarted, its sandbox is killed and
/// another one is created, and the pod ends with its manifest.
pub fn run_pod(containerd: &Containerd) {
    containerd.import();
    let kubelet = Kubelet::start(containerd, json!({}));
    let flaky = "readlink /proc/self/ns/net; sleep 1; exit 3";
    kubelet.add_pod("pod", &[], &[("steady", "sleep 100000"), ("flaky", flaky)]);

    kubelet.wait_until_running("pod", "steady", 0);
    let first = kubelet.sandboxes();
    assert_eq!(first.len(), 1, "{first:?}");
    // Under the runtime's default profile, as docs/nodes.md says.
    let nest = containerd.nest();
    let seccomp = Processes(nest.proc()).status(first[0], "Seccomp");
    assert_eq!(seccomp, "2");
    wait_until("the flaky app is restarted", || {
        kubelet.status("pod", "flaky")["restartCount"].as_u64() >= Some(1)
    });
    assert_eq!(kubelet.sandboxes(), first, "another sandbox");
    kubelet.wait_until_running("pod", "steady", 0);
    println!("the flaky app was restarted, in the same sandbox");

    nest.kill(first[0]);
    wait_until("there is another sandbox", || {
        let now = kubelet.sandboxes();
        now.len() == 1 && now != first
    });
    kubelet.wait_until_running("pod", "steady", 1);
    println!("the sandbox was killed, and the kubelet created another");

    kubelet.remove_pods(&["pod"]);
    println!("the manifest was removed, and the pod is gone");
}
