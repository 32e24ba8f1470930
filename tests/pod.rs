//! A real pod, in podman: its app dies and comes back, its network stays, and no zombie does.

use nix::unistd::Pid;
use std::fs;
use tests::{
    engine::{APP_IMAGE, IMAGE, Podman},
    program::{Program, TERMINATED},
    project,
    sandbox::Processes,
    text,
};

/// Tells its network namespace, leaves five orphans that die, shows the processes, and fails.
const APP: &str = "readlink /proc/self/ns/net; \
     for i in 1 2 3 4 5; do (sleep 0.1 &); done; \
     sleep 0.5; ps; exit 3";

/// A pod whose sandbox shares its PID namespace, and its app.
struct Pod<'a> {
    podman: &'a Podman,
    processes: Processes,
    infra: String,
    sandbox: Pid,
}

impl<'a> Pod<'a> {
    fn create(podman: &'a Podman, infra: &[&str]) -> Self {
        let cgroup = format!("--cgroup-parent=/{}", podman.0.cgroup());
        let create = [
            "pod",
            "create",
            "--name=pod",
            "--network=none",
            "--share=ipc,net,uts,pid",
        ];
        podman.run(&[&create[..], &[&cgroup], infra].concat());
        podman.run(&["pod", "start", "pod"]);
        let ids = podman.run(&["pod", "inspect", "--format={{.InfraContainerID}}", "pod"]);
        let pid = podman.run(&["inspect", "--format={{.State.Pid}}", &ids]);
        Self {
            podman,
            processes: Processes(podman.0.proc()),
            infra: ids,
            sandbox: Pid::from_raw(pid.parse().unwrap()),
        }
    }

    /// Runs the app to its end and returns what it said.
    fn run_app(&self) -> String {
        self.podman.run(&[
            "run",
            "--detach",
            "--name=app",
            "--pod=pod",
            APP_IMAGE,
            "sh",
            "-c",
            APP,
        ]);
        assert_eq!(self.podman.run(&["wait", "app"]), "3");
        self.podman.run(&["logs", "app"])
    }

    /// Runs the same app once more.
    fn run_app_again(&self) -> String {
        let before = self.podman.run(&["logs", "app"]).len();
        self.podman.run(&["start", "app"]);
        assert_eq!(self.podman.run(&["wait", "app"]), "3");
        self.podman.run(&["logs", "app"])[before..]
            .trim_start()
            .to_owned()
    }

    fn zombies(&self) -> usize {
        let children = self.processes.children(self.sandbox).into_iter();
        children
            .filter(|child| self.processes.status(*child, "State").starts_with('Z'))
            .count()
    }

    fn remove(self) {
        self.podman
            .run(&["pod", "rm", "--force", "--time=0", "pod"]);
        assert_eq!(self.podman.run(&["ps", "--all", "--quiet"]), "");
    }
}

#[test]
fn an_app_dies_and_comes_back_to_the_same_network() {
    let podman = Podman::with_images();
    let pod = Pod::create(&podman, &["--infra-image", IMAGE]);
    let proc = podman.0.proc().join(pod.sandbox.to_string());

    assert!(
        fs::read(proc.join("exe")).unwrap() == fs::read(Program::native("pause").path).unwrap(),
        "the sandbox's program is not the one that was built"
    );
    pod.processes.wait_until_asleep(pod.sandbox);
    let sleeps = pod.processes.sleeps(pod.sandbox);

    let network = fs::read_link(proc.join("ns/net")).unwrap();
    // One run after the other, each looked at before the next.
    for run in [Pod::run_app, Pod::run_app_again] {
        let said = run(&pod);
        println!("{said}");
        let mut lines = said.lines();
        assert_eq!(lines.next(), network.to_str());
        let processes: Vec<Vec<&str>> = lines
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(processes[1], ["1", "0", "/pause"], "{said}");
        // The head line, /pause, the app and its ps: no sleep, dead or alive.
        assert_eq!(processes.len(), 4, "{said}");
        assert_eq!(pod.zombies(), 0);
    }
    assert_eq!(
        pod.processes.sleeps(pod.sandbox),
        sleeps,
        "the orphans woke it up"
    );

    // Where SIGTERM does nothing, podman waits for this long, kills, and says so.
    let mut stop = podman.command();
    let stopped = stop
        .args(["pod", "stop", "--time=20", "pod"])
        .output()
        .unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(
        !String::from_utf8_lossy(&stopped.stderr).contains("SIGKILL"),
        "{stopped:?}"
    );
    assert_eq!(
        podman.run(&["inspect", "--format={{.State.ExitCode}}", &pod.infra]),
        "0"
    );
    let log = podman
        .command()
        .args(["logs", &pod.infra])
        .output()
        .unwrap();
    assert_eq!(text(log.stderr), TERMINATED);
    pod.remove();
}

/// What the test above would see of a sandbox that does not reap.
#[test]
fn without_a_reaper_zombies_stay() {
    let podman = Podman::with_images();
    let sleeper = [
        "--infra-image",
        APP_IMAGE,
        "--infra-command",
        "/bin/sleep 1000",
    ];
    let pod = Pod::create(&podman, &sleeper);
    pod.run_app();
    assert_eq!(pod.zombies(), 5);
    pod.remove();
}

/// The filter of system calls that comes with the image: pause lives and leaves under it, and one
/// that does not let it sleep makes a difference.
#[test]
fn lives_under_its_seccomp_profile() {
    let podman = Podman::with_images();
    let profile = project().join("image/seccomp.json");
    let run = |profile: &str, more: &[&str]| {
        let cgroup = format!("--cgroup-parent=/{}", podman.0.cgroup());
        let seccomp = format!("--security-opt=seccomp={profile}");
        let run = ["run", "--name=pause", "--network=none", &cgroup, &seccomp];
        podman.run(&[&run[..], more, &[IMAGE]].concat())
    };
    for more in [
        &["--detach"][..],
        &["--detach", "--security-opt=no-new-privileges"],
    ] {
        run(profile.to_str().unwrap(), more);
        let pid = podman.run(&["inspect", "--format={{.State.Pid}}", "pause"]);
        let pid = Pid::from_raw(pid.parse().unwrap());
        let processes = Processes(podman.0.proc());
        processes.wait_until_asleep(pid);
        assert_eq!(processes.status(pid, "Seccomp"), "2");
        podman.run(&["stop", "--time=10", "pause"]);
        let ended = podman.run(&["inspect", "--format={{.State.ExitCode}}", "pause"]);
        assert_eq!(ended, "0");
        podman.run(&["rm", "pause"]);
    }

    let without_sleep = fs::read_to_string(profile).unwrap();
    let without_sleep = without_sleep
        .replace("\"pause\"", "\"fork\"")
        .replace("\"ppoll\"", "\"vfork\"");
    let path = podman.0.path("seccomp.json");
    fs::write(&path, without_sleep).unwrap();
    run(&path, &["--detach"]);
    assert_eq!(podman.run(&["wait", "pause"]), "4");
}
