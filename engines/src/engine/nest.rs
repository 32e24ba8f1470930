//! A nest: mount, network and PID namespaces for an engine and all that it starts.

use crate::{Sandbox, built, output, program::Platform, project, wait_until};
use nix::{sched::CloneFlags, unistd::Pid};
use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};
use tempfile::TempDir;

/// The cgroup hierarchies that a nest sees on a machine that mounts both v1 and v2: crun refuses a mixture.
pub enum Cgroups {
    V1,
    /// With fewer controllers than on a machine without v1.
    V2,
}

/// A runc for a machine whose root lacks CAP_SYS_RESOURCE, and so may neither give that to a privileged
/// container nor lower an OOM score.
pub const RUNC: &str = r#"#!/bin/bash
previous=
for word; do
  case $previous in
    --bundle) file=$word/config.json ;;
    --process | -p) file=$word ;;
    *) file= ;;
  esac
  [ -z "$file" ] || sed -i 's/,"CAP_SYS_RESOURCE"//g; s/"CAP_SYS_RESOURCE",//g
    s/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$file"
  previous=$word
done
exec /usr/sbin/runc "$@"
"#;

/// Namespaces for an engine, and a directory for its files.
pub struct Nest {
    shared_cgroup: Cell<Option<&'static str>>,
    // Dropped before the files, which its processes use.
    first: Sandbox,
    pub directory: TempDir,
}

impl Nest {
    /// Creates a nest with the loopback up.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        Self::with(CloneFlags::empty())
    }

    /// Creates a nest in a user namespace, with its own binfmt_misc (Linux 6.7 or newer), which runs the
    /// platform's programs in an emulator.
    pub fn with_emulator(platform: &Platform) -> Self {
        let nest = Self::with(CloneFlags::CLONE_NEWUSER);
        nest.mount(&["--types=binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"]);
        let emulator = format!("/usr/lib/binfmt.d/{}.conf", platform.emulator());
        let register = nest.proc().join("sys/fs/binfmt_misc/register");
        fs::write(register, fs::read(emulator).unwrap()).unwrap();
        nest
    }

    /// Creates a nest that sees cgroup v2 only. In its user namespace, runtimes do not filter devices.
    pub fn with_cgroup2() -> Self {
        let nest = Self::with(CloneFlags::CLONE_NEWUSER);
        nest.see(&Cgroups::V2);
        nest
    }

    /// Creates a nest in the root file system of another Debian release, with the commands from crates.io that
    /// make built.
    pub fn in_release(release: &str, cgroups: &Cgroups) -> Self {
        let root = built(&format!("releases/{release}"));
        let enter = project().join("scripts/enter-release");
        let nest = Self::of(CloneFlags::CLONE_NEWIPC, |files| {
            vec![
                "/bin/bash".into(),
                enter,
                root,
                project().into(),
                files.into(),
            ]
        });
        let tools = project().join("target/tools/bin");
        if tools.exists() {
            nest.mount(&["--bind", tools.to_str().unwrap(), "/usr/local/bin"]);
        }
        nest.see(cgroups);
        nest
    }

    /// Hides the other cgroup hierarchies. A machine with v2 only has nothing to hide.
    fn see(&self, cgroups: &Cgroups) {
        let unified = "/sys/fs/cgroup/unified";
        if Path::new(unified).exists() {
            match cgroups {
                Cgroups::V1 => _ = output(self.command("umount").arg(unified)),
                Cgroups::V2 => self.mount(&["--bind", unified, "/sys/fs/cgroup"]),
            }
        }
    }

    /// Runs mount in the nest.
    pub fn mount(&self, arguments: &[&str]) {
        output(self.command("mount").args(arguments));
    }

    /// Mounts an overlay over a directory of the machine: what the nest changes there is gone with it.
    pub fn overlay(&self, at: &str) {
        let [upper, work] = ["upper", "work"].map(|it| self.path(&format!("{it}{at}")));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        let layers = format!("--options=lowerdir={at},upperdir={upper},workdir={work}");
        self.mount(&["--types=overlay", &layers, "overlay", at]);
    }

    /// Sends SIGKILL to a process of the nest.
    pub fn kill(&self, pid: Pid) {
        let kill = format!("kill -9 {pid}");
        output(self.command("bash").args(["-c", &kill]));
    }

    fn with(others: CloneFlags) -> Self {
        Self::of(others, |_| vec!["/bin/sleep".into(), "infinity".into()])
    }

    /// Creates a nest by words that depend on the directory for its files.
    fn of(others: CloneFlags, words: impl FnOnce(&Path) -> Vec<PathBuf>) -> Self {
        let directory = TempDir::with_prefix("pause-test-").unwrap();
        let words = words(directory.path());
        let words: Vec<&str> = words.iter().map(|it| it.to_str().unwrap()).collect();
        let nest = Self {
            shared_cgroup: Cell::new(None),
            first: Sandbox::nest(others, &words),
            directory,
        };
        output(nest.command("ip").args(["link", "set", "lo", "up"]));
        nest
    }

    /// A command in the nest, with a time limit of two minutes.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.daemon("timeout");
        command.args(["--kill-after=5", "120", program]);
        command
    }

    /// A command in the nest, without a time limit.
    pub fn daemon(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first.pid));
        command.args(["--all", program]);
        command
    }

    /// Starts a daemon that writes to NAME.log, and waits until `ready` succeeds.
    pub fn start_daemon(&self, name: &str, mut daemon: Command, mut ready: Command) {
        let path = self.path(&format!("{name}.log"));
        let log = fs::File::create(&path).unwrap();
        daemon.stdin(Stdio::null());
        daemon.stderr(log.try_clone().unwrap()).stdout(log);
        let mut daemon = daemon.spawn().unwrap();
        wait_until("the daemon is ready", || {
            // Leaves the processor to the daemon: each question starts a process.
            sleep(Duration::from_millis(50));
            let log = || fs::read_to_string(&path).unwrap();
            assert_eq!(daemon.try_wait().unwrap(), None, "{}", log());
            ready.output().unwrap().status.success()
        });
        // The end of the nest ends the daemon, and with it the nsenter that waits for it.
        drop(daemon);
    }

    /// A path among the engine's files, or, of "", their directory. It is the same in the nest.
    pub fn path(&self, path: &str) -> String {
        let path = self.directory.path().join(path);
        path.to_str().unwrap().to_owned()
    }

    /// The name of the parent of all cgroups that the engine creates.
    pub fn cgroup(&self) -> String {
        let name = self.directory.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    /// Notes that the engine also creates a cgroup with a fixed name. Drop removes it, unless it has other
    /// processes of the machine.
    pub fn shares_cgroup(&self, name: &'static str) {
        self.shared_cgroup.set(Some(name));
    }

    /// The nest's /proc, seen from outside.
    pub fn proc(&self) -> PathBuf {
        self.root("/proc")
    }

    /// A path in the nest, seen from outside.
    pub fn root(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.first.pid).into()
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        self.first.kill();
        wait_until("its cgroups are gone", || remove_cgroups(&self.cgroup()));
        // Others may still use this one.
        self.shared_cgroup.get().map(remove_cgroups);
    }
}

/// Removes the cgroups of that name and their children in all hierarchies, v1 and v2, except those that have
/// processes. Returns whether all are gone.
fn remove_cgroups(name: &str) -> bool {
    let script = r#"status=0
        for cgroup in /sys/fs/cgroup/{,*/}"$0"; do
          [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + || status=1
        done 2>/dev/null
        exit $status"#;
    let mut bash = Command::new("bash");
    bash.args(["-c", script, name]).status().unwrap().success()
}
