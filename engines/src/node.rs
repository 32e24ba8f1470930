//! A node: containerd, its files where a node has them, and a systemctl that restarts it.

use crate::{
    End, Processes, built,
    engine::{Containerd, Nest, RUNC, busybox_archive},
    output, project, sandbox,
    story::Engine,
    wait_until, write_script,
};
use nix::unistd::Pid;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};
use use_pause::{cri::Client, image};

/// A stand-in for systemctl: it starts, stops or restarts containerd, waits until that answers, and runs what
/// drop-ins name.
const SYSTEMCTL: &str = r#"#!/bin/bash
set -eu
[ "$1" != daemon-reload ] || exit 0
[ "$2" = containerd ]
pid=$(cat /run/containerd.pid 2>/dev/null || :)
case $1 in start | restart | stop) ;; *) exit 1 ;; esac
if [ "$1" != start ] && [ -n "$pid" ]; then
  kill "$pid" 2>/dev/null || :
  while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.02; done
  rm -f /run/containerd.pid
fi
[ "$1" = stop ] && exit
# Whoever asks systemd, it starts services in its own mount namespace.
setsid nsenter --target=1 --mount containerd </dev/null >>/var/log/containerd.log 2>&1 &
echo $! >/run/containerd.pid
for _ in $(seq 500); do
  if ctr --connect-timeout 1s version >/dev/null 2>&1; then
    sed -n 's/^ExecStartPost=-//p' /etc/systemd/system/containerd.service.d/*.conf 2>/dev/null | sh >/dev/null 2>&1
    exit 0
  fi
  kill -0 $! 2>/dev/null || { echo "containerd.service failed" >&2; exit 1; }
  sleep 0.02
done
echo "containerd.service timed out" >&2
exit 1
"#;

/// The system calls of [`Node::steps`].
const CALLS: &str = "open,openat,write,fchmod,fchown,fsync,link,linkat,rename,unlink,memfd_create,clone,fork,vfork,\
                     socket,connect,sendto,writev,flock,setxattr";

/// A node with containerd, in a nest.
pub struct Node {
    pub containerd: Containerd,
}

impl Node {
    /// A node with the containerd of that directory, not started yet, and an empty /etc/containerd.
    pub fn new(commands: impl Into<PathBuf>) -> Self {
        let nest = Nest::new();
        // containerd's own for sandboxes without a parent, as those of probes.
        nest.shares_cgroup("k8s.io");
        let socket = "/run/containerd/containerd.sock";
        for directory in ["etc", "bin"] {
            fs::create_dir(nest.path(directory)).unwrap();
        }
        nest.overlay("/etc");
        nest.mount(&["--bind", &nest.path("etc"), "/etc/containerd"]);
        // containerd makes a directory there by default.
        nest.mount(&["--types=tmpfs", "tmpfs", "/opt"]);
        fs::create_dir_all(nest.root("/run/systemd/system")).unwrap();
        write_script(nest.path("bin/systemctl"), SYSTEMCTL);
        write_script(nest.path("bin/runc"), RUNC);
        Self {
            containerd: Containerd::of(nest, commands.into(), socket.to_owned()),
        }
    }

    /// The same with a file of engines/tests/configurations, and with all that some of them import.
    pub fn configured(commands: impl Into<PathBuf>, name: &str) -> Self {
        let node = Self::new(commands);
        let from = project().join("engines/tests/configurations");
        let (from_main, main) = (from.join(format!("{name}.toml")), node.etc("config.toml"));
        fs::copy(from_main, &main).unwrap();
        fs::set_permissions(main, Permissions::from_mode(0o640)).unwrap();
        let copy = format!("cp -r {}/*.d {}", from.display(), node.etc("").display());
        output(Command::new("sh").args(["-c", &copy]));
        node
    }

    /// Where it runs. Files of the test have the same path on the node.
    pub fn nest(&self) -> &Nest {
        self.containerd.nest()
    }

    /// A file of /etc/containerd.
    pub fn etc(&self, path: &str) -> PathBuf {
        self.nest().path(&format!("etc/{path}")).into()
    }

    /// A command that runs on the node and finds its containerd.
    pub fn command(&self, program: &str) -> Command {
        let (bin, others) = (self.nest().path("bin"), std::env::var("PATH").unwrap());
        let commands = self.containerd.commands.display();
        let mut command = self.nest().command(program);
        command.env("PATH", format!("{bin}:{commands}:{others}:/usr/sbin"));
        command
    }

    /// Starts, stops or restarts containerd.
    pub fn systemctl(&self, verb: &str) {
        output(self.command("systemctl").args([verb, "containerd"]));
    }

    /// Runs ctr for a kubelet's images and containers, which must succeed.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let namespace = ["--namespace=k8s.io"];
        self.containerd.ctr(&[&namespace, arguments].concat())
    }

    /// Imports an image of that name with busybox, which runs these words.
    pub fn import(&self, name: &str, words: &[&str]) {
        let archive = busybox_archive(self.nest(), &[name], words);
        self.ctr(&["images", "import", "--no-unpack", &archive]);
        let cri = Client::of(&self.nest().root(&self.containerd.socket));
        wait_until("known to the CRI", || {
            image::get(&cri, name).is_ok_and(|it| it.is_some())
        });
    }

    /// Imports the sandbox image that the node has before a switch, with another program. Returns its name.
    pub fn import_stock(&self) -> String {
        let (end, status) = self.use_pause_json(&["status"]);
        assert_eq!((end.status, &status["ours"]), (Ok(1), &Value::from(false)));
        let name = status["image"].as_str().unwrap();
        self.import(name, &["/bin/sleep", "100000"]);
        name.to_owned()
    }

    /// Runs the use-pause that ships.
    pub fn use_pause(&self, arguments: &[&str]) -> End {
        // Some of them are ignored where the tests run in the background.
        let mut command = self.command("env");
        command.args(["--default-signal", &use_pause()]);
        sandbox::run(command.args(arguments))
    }

    /// Runs it with `--output json`, and returns that too.
    pub fn use_pause_json(&self, arguments: &[&str]) -> (End, Value) {
        let end = self.use_pause(&[arguments, &["--output=json"]].concat());
        let object = serde_json::from_str(&end.stdout).unwrap();
        (end, object)
    }

    /// Runs it successfully: its standard output.
    pub fn use_pause_succeeds(&self, arguments: &[&str]) -> String {
        let end = self.use_pause(arguments);
        assert_eq!((&end.status, &*end.stderr), (&Ok(0), ""), "{end:?}");
        end.stdout
    }

    /// Runs it successfully, with this in its standard output, which it returns.
    pub fn use_pause_prints(&self, arguments: &[&str], what: &str) -> String {
        let printed = self.use_pause_succeeds(arguments);
        assert!(printed.contains(what), "{arguments:?}: {printed}");
        printed
    }

    /// Asserts a one-line refusal with this in it, which it returns, and /etc/containerd unchanged.
    pub fn use_pause_refuses(&self, arguments: &[&str], why: &str) -> String {
        let etc = self.nest().root("/etc/containerd");
        let before = snapshot(&etc);
        let end = self.use_pause(arguments);
        println!("{arguments:?}: {}", end.stderr);
        assert_eq!(end.status, Ok(1), "{end:?}");
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        assert!(end.stderr.starts_with("use-pause: "), "{end:?}");
        assert!(end.stderr.contains(why), "{why}: {end:?}");
        assert!(snapshot(&etc) == before, "{end:?}");
        end.stderr
    }

    /// Breaks use-pause at its steps, or at every so many of them: it is killed or interrupted, or the call fails.
    /// Then the file is the old or the new one, no sandbox of a probe is left, and the next run ends well. `reset`
    /// brings the node back, `pods` counts the sandboxes.
    pub fn break_at_steps(
        &self,
        arguments: &[&str],
        every: usize,
        file: &Path,
        reset: impl Fn(),
        pods: impl Fn() -> usize,
    ) {
        let read = || fs::read(file).ok();
        reset();
        let (old, before) = (read(), pods());
        let steps = self.steps(arguments);
        let new = read();
        assert!(old != new);
        let mut outcomes = BTreeMap::new();
        let faults = ["signal=KILL", "signal=TERM", "error=ENOSPC"];
        let cases = steps.iter().flat_map(|step| faults.map(|it| (step, it)));
        for (step, fault) in cases.step_by(every) {
            reset();
            let inject = format!("--inject={}:{fault}:when={}", step.0, step.1);
            let end = self.traced(&inject, arguments);
            let what = format!("{fault} at {step:?}: {end:?}");
            let now = read();
            assert!(now == old || now == new, "{what}");
            let outcome = if now == new { "new" } else { "old" };
            *outcomes.entry((fault, outcome)).or_insert(0) += 1;
            if fault != "signal=KILL" {
                // The first signal comes before the run is of any consequence.
                let is_one_line = end.stderr.starts_with("use-pause: ");
                let is_one_line = is_one_line && end.stderr.lines().count() == 1;
                assert!(end.status != Ok(1) || is_one_line, "{what}");
                assert_eq!(end.status == Ok(0), now == new, "{what}");
            }
            if fault == "signal=TERM" {
                assert_eq!(pods(), before, "{what}");
            }
            self.use_pause_succeeds(arguments);
            assert!(read() == new, "{what}");
            wait_until("all sandboxes are removed", || pods() == before);
            assert!(!file.with_added_extension("use-pause-new").exists());
        }
        println!("{arguments:?}: {} steps, {outcomes:?}", steps.len());
    }

    /// The system calls by which use-pause changes something, starts a process or speaks to the runtime: each
    /// call's name, and which one of that name it is.
    fn steps(&self, arguments: &[&str]) -> Vec<(String, usize)> {
        let end = self.traced(&format!("--trace={CALLS}"), arguments);
        assert_eq!(end.status, Ok(0), "{end:?}");
        let trace = fs::read_to_string(self.nest().path("trace")).unwrap();
        let mut steps: Vec<(String, usize)> = Vec::new();
        for (call, _) in trace.lines().filter_map(|line| line.split_once('(')) {
            // A line about a signal has other characters.
            if CALLS.split(',').any(|it| it == call) {
                let earlier = steps.iter().filter(|(it, _)| *it == call).count();
                steps.push((call.to_owned(), earlier + 1));
            }
        }
        steps
    }

    fn traced(&self, option: &str, arguments: &[&str]) -> End {
        let mut strace = self.command("strace");
        strace.args([
            "--quiet=all",
            "--output",
            &self.nest().path("trace"),
            option,
        ]);
        sandbox::run(strace.arg(use_pause()).args(arguments))
    }

    /// Whether a process of the node runs our bytes.
    pub fn runs_ours(&self, pid: Pid) -> bool {
        // containerd may return before runc has executed the program.
        let comm = self.nest().proc().join(format!("{pid}/comm"));
        wait_until("executed", || {
            !fs::read_to_string(&comm).unwrap().starts_with("runc")
        });
        Processes(self.nest().proc()).runs_pause(pid)
    }
}

/// The executable that ships.
pub fn use_pause() -> String {
    let file = built("debug/use-pause");
    file.to_str().unwrap().to_owned()
}

/// The files below a directory: path, content, mode and owner.
pub fn snapshot(directory: &Path) -> Vec<(PathBuf, Vec<u8>, u32, u32)> {
    let pattern = format!("{}/**/*", directory.display());
    let paths = glob::glob(&pattern).unwrap().map(Result::unwrap);
    let files = paths.filter(|path| path.is_symlink() || path.is_file());
    files
        .map(|path| {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = fs::read(&path).unwrap_or_default();
            (path, content, metadata.mode(), metadata.uid())
        })
        .collect()
}
