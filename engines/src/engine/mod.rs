//! Container engines, each in a nest: namespaces of its own that end with all that it started or mounted.

mod containerd;
mod cri;
mod docker;
mod nest;
mod podman;
mod registry;

pub use containerd::Containerd;
pub use docker::Docker;
pub use nest::{Cgroups, Nest, RUNC};
pub use podman::Podman;
pub use registry::Registry;

pub use pause_image::sha256;

use crate::{built, printed, program::Platform, project, story::Engine, text};
use nix::unistd::Pid;
use pause_image::layout;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The image's name, unless `make` is given another IMAGE.
pub const IMAGE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// The image of a pod's apps: busybox with a few applets. Engines also know it as docker.io's busybox.
pub const APP_IMAGE: &str = "localhost/app:test";

/// The archive under test.
pub fn archive() -> PathBuf {
    built("pause.tar")
}

/// Writes a docker-save archive of [`APP_IMAGE`], which each engine can load. Returns its path.
pub fn app_archive(nest: &Nest) -> String {
    busybox_archive(nest, &[APP_IMAGE, "docker.io/library/busybox:latest"], &[])
}

/// Writes a docker-save archive of a busybox image with these names and that entrypoint. Returns its
/// path.
pub(crate) fn busybox_archive(nest: &Nest, names: &[&str], words: &[&str]) -> String {
    let mut layer = tar::Builder::new(Vec::new());
    let busybox = Path::new("/bin/busybox");
    layer.append_path_with_name(busybox, "bin/busybox").unwrap();
    for applet in ["nc", "ps", "readlink", "sh", "sleep"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        let link = format!("bin/{applet}");
        layer.append_link(&mut header, link, "busybox").unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": Platform::native().arch,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": words},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}]);
    let path = nest.path("app.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    for (name, content) in [
        ("layer.tar", layer),
        ("config.json", config.to_string().into()),
        ("manifest.json", manifest.to_string().into()),
    ] {
        layout::append(&mut archive, name, 0o644, &content).unwrap();
    }
    archive.finish().unwrap();
    path
}

/// The example of a file in examples/ whose text ends in one app, from the line `app` on. Returns the text with
/// an app for each name and script: `first` is its first line, NAME for the name. `command` is the example's
/// own command.
fn example(file: &str, app: &str, first: &str, command: &str, apps: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(project().join("examples").join(file)).unwrap();
    let (head, tail) = text.split_once(app).unwrap();
    let apps = apps.iter().map(|(name, script)| {
        let command_of = json!(["sh", "-c", script]).to_string(); // JSON is YAML
        let tail = tail.replace(command, &command_of);
        first.replace("NAME", name) + &tail.replace("docker.io/library/busybox", APP_IMAGE)
    });
    head.to_owned() + &apps.collect::<String>()
}

/// examples/pod.yaml as a pod of that name with an app for each name and script. `more` are lines for its spec.
pub fn example_pod(pod: &str, more: &[&str], apps: &[(&str, &str)]) -> String {
    let first = "    - name: NAME\n      imagePullPolicy: Never\n";
    let yaml = example(
        "pod.yaml",
        "    - name: app\n",
        first,
        r#"[sleep, "1000"]"#,
        apps,
    );
    let more: String = more.iter().map(|line| format!("  {line}\n")).collect();
    yaml.replace("name: pod\n", &format!("name: {pod}\n"))
        .replace("\nspec:\n", &format!("\nspec:\n{more}"))
}

/// The command line that docker and podman have in common.
pub trait Cli: Engine {
    /// The command's name.
    const NAME: &str;

    /// A command that finds this engine, or its configuration.
    fn configure(&self, command: Command) -> Command;

    /// A command in the nest that runs this engine's command.
    fn command_of(&self, program: &str) -> Command {
        self.configure(self.nest().command(program))
    }

    /// The engine's command.
    fn command(&self) -> Command {
        self.command_of(Self::NAME)
    }

    /// Runs the command, which must succeed. Returns its output without the final newline.
    fn run(&self, arguments: &[&str]) -> String {
        printed(self.command().args(arguments))
    }

    /// Loads an archive of images.
    fn load(&self, archive: &str) -> String {
        self.run(&["load", "--input", archive])
    }

    /// Loads [`APP_IMAGE`].
    fn load_app(&self) {
        self.load(&app_archive(self.nest()));
    }

    /// Loads both images.
    fn load_images(&self) {
        let loaded = self.load(archive().to_str().unwrap());
        assert!(loaded.contains(IMAGE), "{loaded}");
        self.load_app();
    }

    /// The ids of all containers.
    fn containers(&self) -> String {
        self.run(&["ps", "--all", "--quiet"])
    }

    /// The process of a container, in the nest.
    fn pid(&self, container: &str) -> Pid {
        let pid = self.run(&["inspect", "--format={{.State.Pid}}", container]);
        Pid::from_raw(pid.parse().unwrap())
    }

    /// Waits for a container to end, after starting it `again` if asked. Returns its exit code and what this
    /// run printed.
    fn finish(&self, container: &str, again: bool) -> (i32, String) {
        let mut before = 0;
        if again {
            before = self.run(&["logs", container]).len();
            self.run(&["start", container]);
        }
        let code = self.run(&["wait", container]);
        let printed = self.run(&["logs", container]);
        let printed = printed[before..].trim_start().to_owned();
        (code.parse().unwrap(), printed)
    }

    /// The exit code and the standard error of a container that has ended.
    fn end_of(&self, container: &str) -> (i32, String) {
        let code = self.run(&["inspect", "--format={{.State.ExitCode}}", container]);
        let log = self.command().args(["logs", container]).output().unwrap();
        (code.parse().unwrap(), text(log.stderr))
    }
}
