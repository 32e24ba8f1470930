//! A nest: mount, network and PID namespaces of its own, for an engine and all that it starts.

use crate::{built, output, program::Platform, project, sandbox::Sandbox, wait_until};
use nix::sched::CloneFlags;
use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// What a nest shows of the machine's cgroups, where there are hierarchies of version 1 beside one of
/// version 2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// As they are.
    All,
    /// Version 1 without the hierarchy of version 2, which crun takes for a mixture.
    V1,
    /// Version 2 alone. It has fewer controllers there than on a machine that has nothing else.
    V2,
}

impl Cgroups {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// Namespaces for an engine, and a folder for its files.
pub struct Nest {
    shared_cgroup: Cell<Option<&'static str>>,
    namespaces: Vec<&'static str>,
    // Dropped first: what holds the namespaces, then what was in use in them.
    first: Sandbox,
    /// Where the engine keeps its files.
    pub folder: TempDir,
}

impl Nest {
    /// Makes the namespaces, with the loopback up.
    pub fn new() -> Self {
        Self::with(CloneFlags::empty(), &["--net", "--mount", "--pid"])
    }

    /// The same, in a user namespace too, which has some settings of its own.
    fn with_user_namespace() -> Self {
        let namespaces = &["--user", "--net", "--mount", "--pid"];
        Self::with(CloneFlags::CLONE_NEWUSER, namespaces)
    }

    /// The same, where the kernel runs programs for that platform by an emulator, and nowhere else. It
    /// takes Linux 6.7.
    pub fn with_emulator(platform: &Platform) -> Self {
        let nest = Self::with_user_namespace();
        nest.mount(&["--types=binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"]);
        let emulator = platform.emulator().trim_end_matches("-static");
        let emulator = fs::read(format!("/usr/lib/binfmt.d/{emulator}.conf")).unwrap();
        fs::write(nest.proc().join("sys/fs/binfmt_misc/register"), emulator).unwrap();
        nest
    }

    /// The same, with cgroups of version 2 alone, and where nobody expects devices to be filtered.
    pub fn with_cgroup2() -> Self {
        let nest = Self::with_user_namespace();
        let unified = "/sys/fs/cgroup/unified";
        if Path::new(unified).exists() {
            nest.mount(&["--bind", unified, "/sys/fs/cgroup"]);
        }
        nest
    }

    /// The same in the root file system of another release of Debian's, with these cgroups in sight.
    pub fn in_release(release: &str, cgroups: Cgroups) -> Self {
        let root = built(&format!("releases/{release}"));
        let folder = Self::folder();
        let enter = project().join("tests/tools/enter-release");
        let [enter, root, project, at] =
            [&*enter, &root, project(), folder.path()].map(|path| path.to_str().unwrap());
        let words = ["/bin/bash", enter, root, cgroups.name(), project, at];
        let first = Sandbox::nest(CloneFlags::CLONE_NEWIPC, &words);
        Self::of(first, folder, &["--net", "--mount", "--pid", "--ipc"])
    }

    /// Mounts something in here.
    pub fn mount(&self, arguments: &[&str]) {
        output(self.command("mount").args(arguments));
    }

    fn with(others: CloneFlags, namespaces: &[&'static str]) -> Self {
        let first = Sandbox::nest(others, &["/bin/sleep", "infinity"]);
        Self::of(first, Self::folder(), namespaces)
    }

    fn folder() -> TempDir {
        TempDir::with_prefix("pause-test-").unwrap()
    }

    fn of(first: Sandbox, folder: TempDir, namespaces: &[&'static str]) -> Self {
        let nest = Self {
            shared_cgroup: Cell::new(None),
            namespaces: namespaces.to_owned(),
            first,
            folder,
        };
        output(nest.command("ip").args(["link", "set", "lo", "up"]));
        nest
    }

    /// A command that runs in here, for two minutes at most.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.daemon("timeout");
        command.args(["--kill-after=5", "120", program]);
        command
    }

    /// A command that runs in here until all in here ends.
    pub fn daemon(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first.pid));
        command.args(&self.namespaces).arg(program);
        command
    }

    /// Starts a daemon, its output in the file NAME.log of the folder, and waits until it is `ready`.
    pub fn start_daemon(&self, name: &str, mut daemon: Command, mut ready: Command) {
        let path = self.path(&format!("{name}.log"));
        let log = fs::File::create(&path).unwrap();
        daemon
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log);
        let mut daemon = daemon.spawn().unwrap();
        wait_until("ready", || {
            let log = || fs::read_to_string(&path).unwrap();
            assert_eq!(daemon.try_wait().unwrap(), None, "{}", log());
            ready.output().unwrap().status.success()
        });
        // nsenter goes with the daemon, which goes with the namespaces.
        drop(daemon);
    }

    /// A path in the folder.
    pub fn path(&self, path: &str) -> String {
        self.folder.path().join(path).to_str().unwrap().to_owned()
    }

    /// The name of the cgroup that all of the engine's are to be in.
    pub fn cgroup(&self) -> String {
        let name = self.folder.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    /// That what runs here makes a cgroup of that name too, where one cannot choose. It goes in the
    /// end, but where others of the machine are in it.
    pub fn shares_cgroup(&self, name: &'static str) {
        self.shared_cgroup.set(Some(name));
    }

    /// /proc of the PID namespace.
    pub fn proc(&self) -> PathBuf {
        self.root("/proc")
    }

    /// What has that path in here.
    pub fn root(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.first.pid).into()
    }
}

impl Default for Nest {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        self.first.kill();
        let cgroups = glob_cgroups(&self.cgroup());
        wait_until("rid of its cgroups", || {
            cgroups.iter().all(|cgroup| remove_cgroup(cgroup))
        });
        for cgroup in self.shared_cgroup.get().map_or(vec![], glob_cgroups) {
            // All that was in it is gone, if it was of this nest.
            remove_cgroup(&cgroup);
        }
    }
}

/// The folders of a cgroup in all hierarchies, v1 and v2.
fn glob_cgroups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders = hierarchies
        .chain([root.to_owned()])
        .map(|hierarchy| hierarchy.join(name));
    folders.filter(|folder| folder.is_dir()).collect()
}

/// Removes a cgroup and those in it, as far as their processes are gone; whether it is gone.
fn remove_cgroup(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroup(&entry.path());
        }
    }
    _ = fs::remove_dir(folder);
    !folder.exists()
}
