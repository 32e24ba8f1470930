//! A node: containerd with its files where a node has them, and what restarts it.

use crate::{
    built,
    engine::{Containerd, Cri, Nest, busybox_archive},
    output,
    program::{NATIVE_ARCH, Program},
    sandbox::{self, End},
    story::Engine,
    wait_until, write_script,
};
use nix::unistd::Pid;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What does as systemctl would: restarts containerd, and waits until it answers.
const SYSTEMCTL: &str = r#"#!/bin/bash
set -eu
[ "$2" = containerd ]
pid=$(cat /run/containerd.pid 2>/dev/null || :)
case $1 in start | restart | stop) ;; *) exit 1 ;; esac
if [ "$1" != start ] && [ -n "$pid" ]; then
  kill "$pid" 2>/dev/null || :
  while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.02; done
  rm -f /run/containerd.pid
fi
[ "$1" = stop ] && exit
setsid containerd </dev/null >>/var/log/containerd.log 2>&1 &
echo $! >/run/containerd.pid
for _ in $(seq 500); do
  ctr --connect-timeout 1s version >/dev/null 2>&1 && exit
  kill -0 $! 2>/dev/null || { echo "containerd.service failed" >&2; exit 1; }
  sleep 0.02
done
echo "containerd.service timed out" >&2
exit 1
"#;

/// runc, for a machine whose root may not lower the score that the kernel kills by.
const RUNC: &str = r#"#!/bin/bash
previous=
for word; do
  [ "$previous" != --bundle ] || sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$word/config.json"
  previous=$word
done
exec /usr/sbin/runc "$@"
"#;

/// A node with containerd, in a nest.
pub struct Node {
    pub cri: Cri,
    commands: PathBuf,
}

impl Node {
    /// A node with the containerd in that folder, which is not started yet, and with nothing in
    /// /etc/containerd.
    pub fn new(commands: impl Into<PathBuf>) -> Self {
        let commands = commands.into();
        let nest = Nest::new();
        let socket = "/run/containerd/containerd.sock";
        for folder in ["etc", "bin"] {
            fs::create_dir(nest.path(folder)).unwrap();
        }
        nest.mount(&["--bind", &nest.path("etc"), "/etc/containerd"]);
        // Where containerd makes a folder, unless it is told otherwise.
        nest.mount(&["--types=tmpfs", "tmpfs", "/opt"]);
        fs::create_dir_all(nest.root("/run/systemd/system")).unwrap();
        for (name, script) in [("systemctl", SYSTEMCTL), ("runc", RUNC)] {
            write_script(nest.path(&format!("bin/{name}")), script);
        }
        let from_outside = nest.root(socket).to_str().unwrap().to_owned();
        let containerd = Containerd::of(nest, commands.clone(), socket.to_owned());
        Self {
            cri: Cri::at(containerd, from_outside),
            commands,
        }
    }

    fn nest(&self) -> &Nest {
        self.cri.nest()
    }

    /// A file of /etc/containerd.
    pub fn etc(&self, path: &str) -> PathBuf {
        self.nest().path(&format!("etc/{path}")).into()
    }

    /// A file of the test's own, and its path on the node.
    pub fn file(&self, name: &str) -> String {
        self.nest().path(name)
    }

    /// A command of the node's own.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.nest().path(&format!("bin/{name}")).into()
    }

    /// What has that path on the node.
    pub fn root(&self, path: &str) -> PathBuf {
        self.nest().root(path)
    }

    /// Mounts something there.
    pub fn mount(&self, arguments: &[&str]) {
        self.nest().mount(arguments);
    }

    /// A command that runs on the node and finds its containerd.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.nest().command("env");
        let bin = self.nest().path("bin");
        let others = std::env::var("PATH").unwrap();
        let path = format!("PATH={bin}:{}:{others}:/usr/sbin", self.commands.display());
        command.args([&path, program]);
        command
    }

    /// Starts, stops or restarts containerd.
    pub fn systemctl(&self, verb: &str) {
        output(self.command("systemctl").args([verb, "containerd"]));
    }

    /// ctr, which must succeed.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        output(
            self.command("ctr")
                .arg("--namespace=k8s.io")
                .args(arguments),
        )
    }

    /// Gives it an image of that name, for a sandbox that is not ours.
    pub fn import_other(&self, name: &str) {
        self.import(name, &["/bin/sleep", "100000"]);
    }

    /// Gives it an image of that name with busybox, which runs these words.
    pub fn import(&self, name: &str, words: &[&str]) {
        let archive = busybox_archive(self.nest(), &[name], words);
        self.ctr(&["images", "import", &archive]);
    }

    /// use-pause, the one that ships.
    pub fn use_pause(&self, arguments: &[&str]) -> End {
        sandbox::run(self.command(&use_pause()).args(arguments))
    }

    /// The same, which must succeed: what it said.
    pub fn use_pause_said(&self, arguments: &[&str]) -> String {
        let End {
            status,
            stdout,
            stderr,
        } = self.use_pause(arguments);
        assert_eq!(status, Ok(0), "{arguments:?}: {stdout}{stderr}");
        assert_eq!(stderr, "");
        stdout
    }

    /// The same, which must refuse with one line, that is returned, and no more.
    pub fn use_pause_refuses(&self, arguments: &[&str]) -> String {
        let End {
            status,
            stdout,
            stderr,
        } = self.use_pause(arguments);
        assert_eq!(status, Ok(1), "{arguments:?}: {stdout}{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("use-pause: "), "{stderr}");
        stderr
    }

    /// Whether a process of the node runs our bytes.
    pub fn runs_ours(&self, pid: Pid) -> bool {
        // containerd may be back before it has executed it.
        let comm = self.nest().proc().join(format!("{pid}/comm"));
        wait_until("executed", || {
            !fs::read_to_string(&comm).unwrap().starts_with("runc")
        });
        let running = fs::read(self.nest().proc().join(format!("{pid}/exe"))).unwrap();
        running == fs::read(Program::native().path).unwrap()
    }
}

/// The file of the use-pause that ships.
pub fn use_pause() -> String {
    let file = built(&format!("use-pause/{NATIVE_ARCH}/use-pause"));
    file.to_str().unwrap().to_owned()
}

/// A configuration of tests/configurations, and the files that some of them import, in a folder.
pub fn copy_configuration(name: &str, folder: &Path) {
    let from = crate::project().join("tests/configurations");
    fs::copy(
        from.join(format!("{name}.toml")),
        folder.join("config.toml"),
    )
    .unwrap();
    for imported in ["conf.d", "other.d", "table.d"] {
        output(
            Command::new("cp")
                .arg("-r")
                .args([&from.join(imported), folder]),
        );
    }
}
