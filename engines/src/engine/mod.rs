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

use crate::{built, program::Platform, project, said, text};
use k8s_openapi::api::core::v1::Pod;
use nix::unistd::Pid;
use pause_image::layout;
use serde_json::{Value, json};
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

/// A file of examples/ that is a single YAML document.
pub fn example(name: &str) -> Value {
    let text = fs::read_to_string(project().join("examples").join(name)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// The pod of examples/pod.yaml with one container per name and script.
pub fn example_pod(scripts: &[(&str, &str)]) -> Value {
    let mut pod = example("pod.yaml");
    // A field that Kubernetes does not know would not survive this.
    let known: Pod = serde_json::from_value(pod.clone()).unwrap();
    assert_eq!(serde_json::to_value(known).unwrap(), pod);
    let app = pod["spec"]["containers"][0].take();
    let containers = scripts.iter().map(|(name, script)| {
        let mut app = app.clone();
        app["name"] = json!(name);
        app["image"] = json!(APP_IMAGE);
        app["imagePullPolicy"] = json!("Never");
        app["command"] = json!(["sh", "-c", script]);
        app
    });
    pod["spec"]["containers"] = containers.collect();
    pod
}

/// The command line that docker and podman have in common.
pub trait Cli {
    /// The command's name.
    const NAME: &str;

    /// A command in the nest that runs this engine's command.
    fn command_of(&self, program: &str) -> Command;

    /// The engine's command.
    fn command(&self) -> Command {
        self.command_of(Self::NAME)
    }

    /// Runs the command, which must succeed. Returns its output without the final newline.
    fn run(&self, arguments: &[&str]) -> String {
        said(self.command().args(arguments))
    }

    /// Loads an archive of images.
    fn load(&self, archive: &str) -> String {
        self.run(&["load", "--input", archive])
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

    /// Waits for a container to end, after it is started `again` if asked. Returns its exit code and what
    /// this run printed.
    fn finish(&self, container: &str, again: bool) -> (i32, String) {
        let mut before = 0;
        if again {
            before = self.run(&["logs", container]).len();
            self.run(&["start", container]);
        }
        let code = self.run(&["wait", container]);
        let said = self.run(&["logs", container]);
        let said = said[before..].trim_start().to_owned();
        (code.parse().unwrap(), said)
    }

    /// The exit code and the standard error of a container that has ended.
    fn end_of(&self, container: &str) -> (i32, String) {
        let code = self.run(&["inspect", "--format={{.State.ExitCode}}", container]);
        let log = self.command().args(["logs", container]).output().unwrap();
        (code.parse().unwrap(), text(log.stderr))
    }
}
