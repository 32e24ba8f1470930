//! The story of a pod, told once, for each engine to act out: its sandbox is ours, an app dies and
//! comes back to the same network, orphans leave nothing, and in the end all is gone.

use crate::{
    engine::{Nest, sha256},
    program::{Program, TERMINATED},
    sandbox::Processes,
    wait_until,
};
use nix::unistd::Pid;
use std::{fs, time::Instant};

/// An app's script: tells its network namespace, leaves five orphans that die, shows the processes,
/// and fails.
pub const APP: &str = "readlink /proc/self/ns/net; \
     for i in 1 2 3 4 5; do (sleep 0.1 &); done; \
     sleep 0.5; ps; exit 3";

/// An app's script: answers whoever connects to its port.
pub const LISTENER: &str = "while :; do echo here | nc -l -p 8080; done";

/// What an engine does for the story. Each starts with the image loaded.
pub trait Engine {
    /// Where it runs.
    fn nest(&self) -> &Nest;
    /// Makes the one pod, of which our image is the sandbox, with a PID namespace that is shared; the
    /// sandbox's process in the nest.
    fn create_pod(&self) -> Pid;
    /// Starts an app of the pod that goes on until the pod ends.
    fn start_app(&self, script: &str);
    /// Runs an app of the pod to its end, the first time or again: its exit code and what it said.
    fn run_app(&self, script: &str, again: bool) -> (i32, String);
    /// Stops the pod.
    fn stop_pod(&self);
    /// The exit code of the sandbox and its standard error, where the engine tells, and ends sandboxes
    /// by SIGTERM.
    fn sandbox_end(&self) -> Option<(i32, String)>;
    /// Removes the pod; what is left of it then, by the engine's own list.
    fn remove_pod(&self) -> String;
    /// The user that the sandbox has, which is the image's unless the engine knows better.
    fn user(&self) -> u32 {
        65535
    }
    /// What the image is made of.
    fn program(&self) -> Program {
        Program::native()
    }
}

/// Acts it out. What it prints is a report.
pub fn tell(engine: &impl Engine) {
    let start = Instant::now();
    let sandbox = engine.create_pod();
    println!("pod created in {:.1?}", start.elapsed());

    let processes = Processes(engine.nest().proc());
    let proc = engine.nest().proc().join(sandbox.to_string());
    // Some engines are back before the runtime has executed it.
    processes.wait_until_asleep(sandbox);
    let program = engine.program();
    let file = if program.platform.is_native() {
        "exe"
    } else {
        // What is executed is the emulator, which has read our file.
        let executed = fs::read_link(proc.join("exe")).unwrap();
        assert!(executed.to_str().unwrap().contains("qemu"), "{executed:?}");
        "root/pause"
    };
    let running = fs::read(proc.join(file)).unwrap();
    let built = fs::read(program.path).unwrap();
    assert!(
        running == built,
        "the sandbox's program is not the one that was built"
    );
    let user = engine.user();
    assert!(
        processes
            .status(sandbox, "Uid")
            .starts_with(&format!("{user}\t"))
    );
    println!("sandbox: sha256 {} as user {user}", sha256(&running));
    let sleeps = processes.sleeps(sandbox);

    engine.start_app(LISTENER);
    wait_until("answered", || answers(engine.nest(), sandbox));
    let network = fs::read_link(proc.join("ns/net")).unwrap();
    for again in [false, true] {
        let (code, said) = engine.run_app(APP, again);
        println!("{said}");
        assert_eq!(code, 3);
        let mut lines = said.lines();
        assert_eq!(lines.next(), network.to_str());
        let shown: Vec<Vec<&str>> = lines.map(|it| it.split_whitespace().collect()).collect();
        let first = shown.iter().find(|words| words[0] == "1").unwrap();
        assert_eq!(first.last(), Some(&"/pause"), "{said}");
        // A zombie would be there as [sleep].
        assert!(
            shown.iter().all(|words| !words[2].contains("sleep")),
            "{said}"
        );
        assert_eq!(zombies(&processes, sandbox), 0);
        wait_until("answered", || answers(engine.nest(), sandbox));
    }
    assert_eq!(processes.sleeps(sandbox), sleeps, "the orphans woke it up");

    let start = Instant::now();
    engine.stop_pod();
    println!("pod stopped in {:.1?}", start.elapsed());
    wait_until("gone", || !proc.exists());
    if let Some(end) = engine.sandbox_end() {
        assert_eq!(end, (0, TERMINATED.to_owned()));
    }
    assert_eq!(engine.remove_pod(), "");
}

/// Whether the listener answers, in the network namespace of that process.
fn answers(nest: &Nest, sandbox: Pid) -> bool {
    let mut client = nest.command("nsenter");
    let net = format!("--net=/proc/{sandbox}/ns/net");
    client.args([
        &net,
        "bash",
        "-c",
        "exec 3<>/dev/tcp/127.0.0.1/8080 && cat <&3",
    ]);
    client.output().unwrap().stdout == b"here\n"
}

/// The zombies that a sandbox has for children.
pub fn zombies(processes: &Processes, sandbox: Pid) -> usize {
    let children = processes.children(sandbox).into_iter();
    children
        .filter(|child| processes.status(*child, "State").starts_with('Z'))
        .count()
}
