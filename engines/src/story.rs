//! The story of a pod, which runs on each engine: the sandbox runs pause, an app exits and comes back to the
//! same network, orphans leave no zombies, and nothing is left in the end.

use crate::{
    Processes,
    engine::{Nest, sha256},
    program::{Program, TERMINATED},
    wait_until,
};
use nix::unistd::Pid;
use std::{fs, time::Instant};

/// An app's script: prints its network namespace, leaves five orphans that end, lists the processes, and
/// exits with 3.
pub const APP: &str = "readlink /proc/self/ns/net; \
     for i in 1 2 3 4 5; do (sleep 0.1 &); done; \
     sleep 0.5; ps; exit 3";

/// An app's script: answers each connection to port 8080.
pub const LISTENER: &str = "while :; do echo here | nc -l -p 8080; done";

/// What an engine does in the story. It has the images already.
pub trait Engine {
    /// Its namespaces.
    fn nest(&self) -> &Nest;
    /// Creates the pod, with our image as its sandbox and one PID namespace for all of it. Returns the
    /// sandbox's process in the nest.
    fn create_pod(&self) -> Pid;
    /// Starts an app that runs until the pod ends.
    fn start_app(&self, script: &str);
    /// Runs an app to its end, for the first time or `again`. Returns its exit code and output.
    fn run_app(&self, script: &str, again: bool) -> (i32, String);
    /// Stops the pod.
    fn stop_pod(&self);
    /// The sandbox's exit code and standard error, unless the engine kills sandboxes.
    fn sandbox_end(&self) -> Option<(i32, String)>;
    /// Removes the pod. Returns the containers that the engine still lists.
    fn remove_pod(&self) -> String;
    /// The user that the sandbox runs as: the image's, unless the engine overrides it.
    fn user(&self) -> u32 {
        65535
    }
    /// The program in the image.
    fn program(&self) -> Program {
        Program::native()
    }
}

/// Runs the story on an engine, and prints a report.
pub fn run(engine: &impl Engine) {
    let start = Instant::now();
    let sandbox = engine.create_pod();
    println!("pod created in {:.1?}", start.elapsed());

    let processes = Processes(engine.nest().proc());
    let proc = engine.nest().proc().join(sandbox.to_string());
    // Some engines return before the runtime has executed pause.
    processes.wait_until_asleep(sandbox);
    let program = engine.program();
    let mut file = "exe";
    if !program.platform.is_native() {
        // The process runs the emulator, which reads /pause.
        let executed = fs::read_link(proc.join(file)).unwrap();
        assert!(executed.to_str().unwrap().contains("qemu"), "{executed:?}");
        file = "root/pause";
    }
    let running = fs::read(proc.join(file)).unwrap();
    let built = fs::read(program.path).unwrap();
    assert!(running == built, "the sandbox runs another program");
    let user = engine.user().to_string();
    let users = processes.status(sandbox, "Uid");
    assert_eq!(users.split('\t').next(), Some(&*user), "the sandbox's user");
    println!("sandbox: sha256 {} as user {user}", sha256(&running));
    let sleeps = processes.sleeps(sandbox);

    engine.start_app(LISTENER);
    let answers = || wait_until("the listener answers", || answers(engine.nest(), sandbox));
    answers();
    let network = fs::read_link(proc.join("ns/net")).unwrap();
    for again in [false, true] {
        let (code, printed) = engine.run_app(APP, again);
        println!("{printed}");
        assert_eq!(code, 3);
        let mut lines = printed.lines();
        assert_eq!(lines.next(), network.to_str());
        let first = lines.find(|line| line.trim_start().starts_with("1 "));
        assert!(first.unwrap().ends_with(" /pause"), "{printed}");
        // ps would list a zombie as [sleep].
        assert!(!printed.contains("[sleep]"), "{printed}");
        assert_eq!(zombies(&processes, sandbox), 0);
        answers();
    }
    assert_eq!(processes.sleeps(sandbox), sleeps, "the orphans woke it up");

    let start = Instant::now();
    engine.stop_pod();
    println!("pod stopped in {:.1?}", start.elapsed());
    wait_until("the sandbox is gone", || !proc.exists());
    if let Some(end) = engine.sandbox_end() {
        assert_eq!(end, (0, TERMINATED.to_owned()));
    }
    assert_eq!(engine.remove_pod(), "");
}

/// Whether the listener answers in the sandbox's network namespace.
fn answers(nest: &Nest, sandbox: Pid) -> bool {
    let mut client = nest.command("nsenter");
    client.arg(format!("--net=/proc/{sandbox}/ns/net"));
    client.args(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && cat <&3"]);
    client.output().unwrap().stdout == b"here\n"
}

/// How many children of the sandbox are zombies.
pub fn zombies(processes: &Processes, sandbox: Pid) -> usize {
    let children = processes.children(sandbox).into_iter();
    children
        .filter(|child| processes.status(*child, "State").starts_with('Z'))
        .count()
}
