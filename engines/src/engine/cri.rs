//! containerd as a kubelet uses it: through the Container Runtime Interface (CRI).

use super::{APP_IMAGE, Containerd, IMAGE, Nest};
use crate::{story::Engine, wait_until};
use nix::unistd::Pid;
use std::{cell::RefCell, fs, path::Path};
use use_pause::{
    calls,
    cri::{
        self, Image, ImageSpec, LinuxPodSandboxConfig, LinuxSandboxSecurityContext,
        ListPodSandboxRequest, NamespaceMode, NamespaceOption, PodSandboxConfig,
        PodSandboxMetadata, PodSandboxState, PodSandboxStatusRequest, PodSandboxStatusResponse,
        ProfileType, RemovePodSandboxRequest, RunPodSandboxRequest, SecurityProfile,
        StopPodSandboxRequest, VersionRequest,
    },
    messages,
};

// What use-pause makes no use of.
messages! {
    ListImagesRequest {}
    ListImagesResponse { images: Vec<Image> = (message, repeated) "1" }

    CreateContainerRequest {
        pod_sandbox_id: String = (string) "1",
        config: Option<ContainerConfig> = (message, optional) "2",
        sandbox_config: Option<PodSandboxConfig> = (message, optional) "3"
    }
    CreateContainerResponse { container_id: String = (string) "1" }
    ContainerConfig {
        metadata: Option<ContainerMetadata> = (message, optional) "1",
        image: Option<ImageSpec> = (message, optional) "2",
        command: Vec<String> = (string, repeated) "3",
        log_path: String = (string) "11",
        linux: Option<LinuxContainerConfig> = (message, optional) "15"
    }
    ContainerMetadata { name: String = (string) "1" }
    LinuxContainerConfig {
        security_context: Option<LinuxContainerSecurityContext> = (message, optional) "2"
    }
    LinuxContainerSecurityContext {
        namespace_options: Option<NamespaceOption> = (message, optional) "3"
    }

    StartContainerRequest { container_id: String = (string) "1" }
    ContainerStatusRequest { container_id: String = (string) "1" }
    ContainerStatusResponse { status: Option<ContainerStatus> = (message, optional) "1" }
    ContainerStatus {
        state: i32 = (int32) "3",
        exit_code: i32 = (int32) "7"
    }
}

calls! {
    ImageService.ListImages(ListImagesRequest) -> ListImagesResponse, 30;
    RuntimeService.CreateContainer(CreateContainerRequest) -> CreateContainerResponse, 30;
    RuntimeService.StartContainer(StartContainerRequest) -> cri::Empty, 30;
    RuntimeService.ContainerStatus(ContainerStatusRequest) -> ContainerStatusResponse, 30;
}

/// The state of a container that has ended.
const EXITED: i32 = 2;

/// One PID namespace for the whole pod, and that network.
fn namespaces(network: NamespaceMode) -> Option<NamespaceOption> {
    Some(NamespaceOption {
        pid: NamespaceMode::Pod.into(),
        network: network.into(),
    })
}

/// A client of a CRI, and its last pod.
pub(super) struct Client {
    cri: cri::Client,
    /// The sandbox's seccomp profile.
    seccomp: SecurityProfile,
    /// The id of the last sandbox.
    pod: RefCell<String>,
    apps: RefCell<u32>,
}

impl Client {
    /// A client for the runtime at that socket, which need not run yet.
    pub(super) fn of(socket: &Path) -> Self {
        Self {
            cri: cri::Client::of(socket),
            seccomp: SecurityProfile {
                profile_type: ProfileType::RuntimeDefault.into(),
                localhost_ref: String::new(),
            },
            pod: RefCell::default(),
            apps: RefCell::default(),
        }
    }
}

impl Containerd {
    /// Gives sandboxes a seccomp profile, as a Localhost profile.
    pub fn with_seccomp(mut self, profile: &Path) -> Self {
        self.cri.seccomp = SecurityProfile {
            profile_type: ProfileType::Localhost.into(),
            localhost_ref: profile.to_str().unwrap().to_owned(),
        };
        self
    }

    /// Makes a call, which must succeed.
    fn call<C: cri::Call>(&self, request: C) -> C::Response {
        self.cri
            .cri
            .call(request)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn config(&self, name: &str, network: NamespaceMode) -> PodSandboxConfig {
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: name.to_owned(),
                namespace: "test".to_owned(),
                attempt: 0,
            }),
            log_directory: self.nest.path("logs"),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}", self.nest.cgroup()),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: namespaces(network),
                    readonly_rootfs: true,
                    seccomp: Some(self.cri.seccomp.clone()),
                }),
            }),
        }
    }

    /// Finds an image in the runtime's list.
    pub fn image(&self, name: &str) -> Option<Image> {
        let list = self.call(ListImagesRequest::default()).images;
        list.into_iter()
            .find(|it| it.repo_tags.iter().any(|tag| tag == name))
    }

    /// Starts a sandbox on the node's own network, and returns its process in the nest.
    pub fn start_sandbox(&self, name: &str) -> Pid {
        wait_until("served", || self.cri.cri.call(VersionRequest {}).is_ok());
        self.run_sandbox(self.config(name, NamespaceMode::Node))
    }

    /// Starts a sandbox, and returns its process in the nest.
    fn run_sandbox(&self, config: PodSandboxConfig) -> Pid {
        let config = Some(config);
        let pod = self.call(RunPodSandboxRequest { config }).pod_sandbox_id;
        self.cri.pod.replace(pod);
        Pid::from_raw(self.pod_info()["pid"].as_i64().unwrap() as i32)
    }

    /// Stops and removes all sandboxes.
    pub fn remove_sandboxes(&self) {
        for id in self.sandboxes() {
            self.stop(id.clone());
            self.remove(id);
        }
    }

    /// The ids of all sandboxes.
    fn sandboxes(&self) -> Vec<String> {
        let list = self.call(ListPodSandboxRequest::default()).items;
        list.into_iter().map(|pod| pod.id).collect()
    }

    /// The id of the last sandbox.
    fn pod(&self) -> String {
        self.cri.pod.borrow().clone()
    }

    fn stop(&self, pod_sandbox_id: String) {
        self.call(StopPodSandboxRequest { pod_sandbox_id });
    }

    fn remove(&self, pod_sandbox_id: String) {
        self.call(RemovePodSandboxRequest { pod_sandbox_id });
    }

    /// containerd's own information on the last sandbox, beyond the CRI.
    fn pod_info(&self) -> serde_json::Value {
        serde_json::from_str(&self.pod_status().info["info"]).unwrap()
    }

    fn pod_status(&self) -> PodSandboxStatusResponse {
        self.call(PodSandboxStatusRequest {
            pod_sandbox_id: self.pod(),
            verbose: true,
        })
    }

    /// Whether the runtime reports the last sandbox as ready.
    pub fn is_ready(&self) -> bool {
        let state = self.pod_status().status.unwrap().state;
        state == i32::from(PodSandboxState::Ready)
    }

    /// Starts an app, and returns its id and its log file.
    fn start_container(&self, script: &str) -> (String, String) {
        let number = self.cri.apps.replace_with(|number| *number + 1);
        let name = format!("app-{number}");
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.clone() }),
            image: Some(ImageSpec {
                image: APP_IMAGE.to_owned(),
            }),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig {
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: namespaces(NamespaceMode::Pod),
                }),
            }),
        };
        let created = self.call(CreateContainerRequest {
            pod_sandbox_id: self.pod(),
            config: Some(config),
            sandbox_config: Some(self.config("pod", NamespaceMode::Pod)),
        });
        let container_id = created.container_id.clone();
        self.call(StartContainerRequest { container_id });
        let log = self.nest.path(&format!("logs/{name}.log"));
        (created.container_id, log)
    }
}

impl Engine for Containerd {
    fn nest(&self) -> &Nest {
        &self.nest
    }

    fn create_pod(&self) -> Pid {
        self.import();
        fs::create_dir_all(self.nest.path("logs")).unwrap();
        let sandbox = self.run_sandbox(self.config("pod", NamespaceMode::Pod));
        assert!(self.is_ready());
        assert_eq!(self.pod_info()["image"], IMAGE);
        sandbox
    }

    fn start_app(&self, script: &str) {
        self.start_container(script);
    }

    /// Runs a new container each time: kubelets restart no container, either.
    fn run_app(&self, script: &str, _again: bool) -> (i32, String) {
        let (container, log) = self.start_container(script);
        let mut code = 0;
        wait_until("ended", || {
            let container_id = container.clone();
            let status = self
                .call(ContainerStatusRequest { container_id })
                .status
                .unwrap();
            code = status.exit_code;
            status.state == EXITED
        });
        // A line of the log: time, stream, "F" for full, and the output.
        let log = fs::read_to_string(log).unwrap();
        let printed = log.lines().map(|line| line.splitn(4, ' ').last().unwrap());
        (code, printed.collect::<Vec<_>>().join("\n"))
    }

    fn stop_pod(&self) {
        self.stop(self.pod());
        assert!(!self.is_ready());
    }

    /// None: containerd 1.6 kills sandboxes with SIGKILL.
    fn sandbox_end(&self) -> Option<(i32, String)> {
        None
    }

    fn remove_pod(&self) -> String {
        self.remove(self.pod());
        self.sandboxes().concat()
    }
}
