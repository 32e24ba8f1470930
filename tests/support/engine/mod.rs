//! Engines, each in a nest: mount, network and PID namespaces of its own, which take everything
//! that it starts and mounts with them.

mod containerd;
mod cri;
mod docker;
mod nest;
mod podman;
mod registry;

pub use containerd::Containerd;
pub use cri::Cri;
pub use docker::{Compose, Docker};
pub use nest::{Cgroups, Nest};
pub use podman::{KubePlay, Podman};
pub use registry::Registry;

use crate::{built, program::Platform, project, said, text};
use k8s_openapi::api::core::v1::Pod;
use nix::unistd::Pid;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The image's name as `make` makes it without IMAGE.
pub const IMAGE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// An image with busybox's sh, ps, readlink and sleep, for the apps of a pod; engines have it as
/// docker's busybox, too.
pub const APP_IMAGE: &str = "localhost/app:test";

/// The archive under test.
pub fn archive() -> PathBuf {
    built("pause.tar")
}

/// The sha256 of some bytes, in hex.
pub fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An archive of [`APP_IMAGE`], in docker's form, which each engine loads.
pub fn app_archive(nest: &Nest) -> String {
    busybox_archive(nest, &[APP_IMAGE, "docker.io/library/busybox:latest"], &[])
}

/// The same of an image of these names, which runs these words.
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
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, &*content).unwrap();
    }
    archive.finish().unwrap();
    path
}

/// A file of examples/, which is one document of YAML.
pub fn example(name: &str) -> Value {
    let text = fs::read_to_string(project().join("examples").join(name)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// The pod of examples/pod.yaml, whose container is there once for each of these, by name, and runs that
/// script. Nothing is in the example that Kubernetes does not know.
pub fn example_pod(scripts: &[(&str, &str)]) -> Value {
    let mut pod = example("pod.yaml");
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

/// A command for containers, as podman has it in common with docker.
pub trait Cli {
    /// The command, for that engine alone.
    fn command(&self) -> Command;

    /// Runs it, which must succeed; its output without the last line's end.
    fn run(&self, arguments: &[&str]) -> String {
        said(self.command().args(arguments))
    }

    /// The process id that it tells of a container.
    fn pid(&self, container: &str) -> Pid {
        let pid = self.run(&["inspect", "--format={{.State.Pid}}", container]);
        Pid::from_raw(pid.parse().unwrap())
    }

    /// The exit code of a container and what it said to standard output, which is started once more
    /// or was already.
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

    /// The exit code of a container that has ended, and its standard error.
    fn end_of(&self, container: &str) -> (i32, String) {
        let code = self.run(&["inspect", "--format={{.State.ExitCode}}", container]);
        let log = self.command().args(["logs", container]).output().unwrap();
        (code.parse().unwrap(), text(log.stderr))
    }
}
