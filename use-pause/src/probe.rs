//! What sandboxes run: those of the node's pods, and one that is started to see what a new pod would get.

use crate::{
    archive::Archive,
    cri::{
        CgroupDriver, Client, LinuxPodSandboxConfig, LinuxSandboxSecurityContext,
        ListPodSandboxRequest, NamespaceMode, NamespaceOption, PodSandbox, PodSandboxConfig,
        PodSandboxMetadata, PodSandboxState, PodSandboxStatusRequest, ProfileType,
        RemovePodSandboxRequest, RunPodSandboxRequest, RuntimeConfigRequest, SecurityProfile,
        StopPodSandboxRequest,
    },
    image,
    process::{interrupted, wait_for},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Name and namespace of the sandbox that a probe starts. No pod has this namespace.
const NAME: &str = "use-pause-probe";

/// How long a runtime may take to execute the program after it has started a sandbox.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a sandbox runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// The name of its image, as the runtime has it; empty if the runtime does not tell.
    pub image: String,
    /// The sha256, in hex, of the file that its process runs. None if it is no process of this node, as in a
    /// virtual machine or in gVisor.
    pub sha256: Option<String>,
    /// The platform, if it is our program; if there is no process, "unknown" if the image is ours.
    pub ours: Option<String>,
}

impl Program {
    pub fn to_json(&self) -> Value {
        json!({"image": self.image, "sha256": self.sha256, "ours": self.ours.is_some(), "platform": self.ours})
    }

    /// What it is, in two words or three.
    pub fn kind(&self) -> String {
        match (&self.ours, &self.sha256) {
            (Some(platform), Some(_)) => format!("pause for {platform}"),
            (Some(_), None) => "pause by its image".to_owned(),
            (None, _) => "another program".to_owned(),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}", self.kind())?;
        match &self.sha256 {
            Some(sha256) => write!(out, ", sha256 {sha256}")?,
            None => write!(out, " (its process is not one of this node)")?,
        }
        write!(out, ", from {}", self.image)
    }
}

/// Starts a sandbox as a kubelet would, returns what it runs, and removes it.
///
/// # Errors
///
/// The runtime starts no sandbox, or does not remove it, or does not answer, or a signal has come.
pub fn probe(cri: &Client, archive: &Archive) -> Result<Program> {
    // A killed run may have left one.
    remove_all(cri)?;
    let program = start(cri).and_then(|id| program(cri, archive, &id));
    let removed = remove_all(cri).context("cannot remove the sandbox of this probe");
    let program = program?;
    removed?;
    interrupted()?;
    Ok(program)
}

fn remove_all(cri: &Client) -> Result<()> {
    for pod in cri.call(ListPodSandboxRequest {})?.items {
        let is_ours = |it: PodSandboxMetadata| it.name == NAME && it.namespace == NAME;
        if pod.metadata.is_some_and(is_ours) {
            cri.call(StopPodSandboxRequest {
                pod_sandbox_id: pod.id.clone(),
            })?;
            cri.call(RemovePodSandboxRequest {
                pod_sandbox_id: pod.id,
            })?;
        }
    }
    Ok(())
}

/// Starts a sandbox that needs no network of its own, and returns its id.
fn start(cri: &Client) -> Result<String> {
    // systemd wants a slice, which is there on each node; cgroupfs refuses one.
    let (slice, none) = ("system.slice", "");
    let driver = cri.call(RuntimeConfigRequest {});
    let driver = driver
        .ok()
        .and_then(|it| it.linux)
        .map(|it| it.cgroup_driver());
    let parents: &[&str] = match driver {
        Some(CgroupDriver::Systemd) => &[slice],
        Some(CgroupDriver::Cgroupfs) => &[none],
        None => &[none, slice],
    };
    let mut failed: Option<anyhow::Error> = None;
    for (attempt, parent) in parents.iter().enumerate() {
        let config = Some(config(parent, attempt as u32));
        match cri.call(RunPodSandboxRequest { config }) {
            Ok(started) => return Ok(started.pod_sandbox_id),
            // The complaint about the parent says nothing if the other one fails, too.
            Err(error) => {
                let earlier = failed.filter(|it| !it.to_string().contains("slice"));
                failed = Some(earlier.unwrap_or(error));
            }
        }
    }
    Err(failed.context("no cgroup parent")?)
}

fn config(cgroup_parent: &str, attempt: u32) -> PodSandboxConfig {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: NAME.to_owned(),
            uid: format!(
                "{}-{}",
                std::process::id(),
                now.unwrap_or_default().as_nanos()
            ),
            namespace: NAME.to_owned(),
            attempt,
        }),
        log_directory: String::new(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: cgroup_parent.to_owned(),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(NamespaceOption {
                    network: NamespaceMode::Node.into(),
                    // With another, CRI-O runs no process.
                    pid: NamespaceMode::Pod.into(),
                }),
                readonly_rootfs: false,
                seccomp: Some(SecurityProfile {
                    profile_type: ProfileType::RuntimeDefault.into(),
                    localhost_ref: String::new(),
                }),
            }),
        }),
    }
}

/// What the running sandboxes run, and how many run each.
pub fn running(cri: &Client, archive: &Archive) -> Result<BTreeMap<Program, usize>> {
    let mut found = BTreeMap::new();
    let is_ready = |pod: &PodSandbox| pod.state() == PodSandboxState::Ready;
    let all = cri.call(ListPodSandboxRequest {})?.items.into_iter();
    for pod in all.filter(is_ready) {
        // It may end meanwhile.
        if let Ok(program) = program(cri, archive, &pod.id) {
            *found.entry(program).or_default() += 1;
        }
    }
    Ok(found)
}

fn program(cri: &Client, archive: &Archive, id: &str) -> Result<Program> {
    let status = cri.call(PodSandboxStatusRequest {
        pod_sandbox_id: id.to_owned(),
        verbose: true,
    })?;
    // Beyond the CRI: containerd and CRI-O have both of these here.
    let info = status.info.get("info").map(|it| serde_json::from_str(it));
    let info: Value = info
        .transpose()
        .context("the sandbox's info")?
        .unwrap_or_default();
    let image = info["image"].as_str().unwrap_or_default().to_owned();
    let executed = info["pid"].as_i64().and_then(executed);
    let sha256 = executed.map(|it| pause_image::sha256(&it));
    let ours = match &sha256 {
        Some(sha256) => archive.programs.get(sha256).cloned(),
        None => {
            let image = image::get(cri, &image)?;
            let is_ours = image.is_some_and(|it| archive.has_id(&it.id));
            is_ours.then(|| "unknown".to_owned())
        }
    };
    Ok(Program {
        image,
        sha256,
        ours,
    })
}

/// The file that a container's process runs. None if the process is outside of containers, or is gone, or
/// runs a file of its runtime's and none of its own.
fn executed(pid: i64) -> Option<Vec<u8>> {
    let file = |path: &str| fs::metadata(format!("/proc/{pid}/{path}"));
    let read = || {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt"));
        ensure!(
            namespace(&pid.to_string())? != namespace("1")?,
            "no container"
        );
        let exe = fs::read_link(format!("/proc/{pid}/exe"))?;
        let inode = |it: fs::Metadata| (it.dev(), it.ino());
        let inside = inode(file(&format!("root{}", exe.display()))?);
        ensure!(inode(file("exe")?) == inside, "still the runtime's own");
        Ok(fs::read(format!("/proc/{pid}/exe"))?)
    };
    wait_for(PATIENCE, read).ok()
}
