//! containerd as a kubelet uses it: through the Container Runtime Interface (CRI).

use super::{APP_IMAGE, Containerd, IMAGE, Nest};
use crate::{story::Engine, wait_until};
use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatusRequest,
    CreateContainerRequest, Image, ImageSpec, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListImagesRequest, ListPodSandboxRequest,
    NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, PodSandboxState,
    PodSandboxStatusRequest, PodSandboxStatusResponse, RemovePodSandboxRequest,
    RunPodSandboxRequest, SecurityProfile, StartContainerRequest, StopPodSandboxRequest,
    VersionRequest, image_service_client::ImageServiceClient,
    runtime_service_client::RuntimeServiceClient, security_profile::ProfileType,
};
use nix::unistd::Pid;
use std::{cell::RefCell, fs, path::Path};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

/// Makes a call, which must succeed, and returns the response.
macro_rules! call {
    ($containerd:ident.$client:ident, $call:ident, $request:expr) => {{
        let mut client = $containerd.cri.$client.clone();
        let answer = $containerd.cri.runtime.block_on(client.$call($request));
        answer
            .unwrap_or_else(|status| panic!("{status}"))
            .into_inner()
    }};
}

/// One PID namespace for the whole pod, and that network.
fn namespaces(network: NamespaceMode) -> Option<NamespaceOption> {
    Some(NamespaceOption {
        pid: NamespaceMode::Pod.into(),
        network: network.into(),
        ..Default::default()
    })
}

/// A client of a CRI.
pub(super) struct Client {
    runtime: Runtime,
    pods: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    /// The sandbox's seccomp profile.
    seccomp: SecurityProfile,
    /// The id of the last sandbox.
    pod: RefCell<String>,
    apps: RefCell<u32>,
}

impl Client {
    /// A client for the runtime at that socket, which need not run yet.
    pub(super) fn of(socket: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Self {
            runtime,
            pods: RuntimeServiceClient::new(channel.clone()),
            images: ImageServiceClient::new(channel),
            seccomp: SecurityProfile {
                profile_type: ProfileType::RuntimeDefault.into(),
                ..Default::default()
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
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Finds an image in the runtime's list.
    pub fn image(&self, name: &str) -> Option<Image> {
        let list = call!(self.images, list_images, ListImagesRequest::default());
        let is_named = |it: &Image| it.repo_tags.iter().any(|tag| tag == name);
        list.images.into_iter().find(is_named)
    }

    /// Starts a sandbox on the node's own network, and returns its process in the nest.
    pub fn start_sandbox(&self, name: &str) -> Pid {
        // The client may still be connected to a containerd that has been restarted since.
        wait_until("served", || {
            let mut client = self.cri.pods.clone();
            let version = async { client.version(VersionRequest::default()).await };
            self.cri.runtime.block_on(version).is_ok()
        });
        self.run_sandbox(self.config(name, NamespaceMode::Node))
    }

    /// Starts a sandbox, and returns its process in the nest.
    fn run_sandbox(&self, config: PodSandboxConfig) -> Pid {
        let request = RunPodSandboxRequest {
            config: Some(config),
            ..Default::default()
        };
        let pod = call!(self.pods, run_pod_sandbox, request);
        self.cri.pod.replace(pod.pod_sandbox_id);
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
        let request = ListPodSandboxRequest::default();
        let list = call!(self.pods, list_pod_sandbox, request);
        list.items.into_iter().map(|pod| pod.id).collect()
    }

    /// The id of the last sandbox.
    fn pod(&self) -> String {
        self.cri.pod.borrow().clone()
    }

    fn stop(&self, pod_sandbox_id: String) {
        let request = StopPodSandboxRequest { pod_sandbox_id };
        call!(self.pods, stop_pod_sandbox, request);
    }

    fn remove(&self, pod_sandbox_id: String) {
        let request = RemovePodSandboxRequest { pod_sandbox_id };
        call!(self.pods, remove_pod_sandbox, request);
    }

    /// containerd's own information on the last sandbox, beyond the CRI.
    fn pod_info(&self) -> serde_json::Value {
        serde_json::from_str(&self.pod_status().info["info"]).unwrap()
    }

    fn pod_status(&self) -> PodSandboxStatusResponse {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: self.pod(),
            verbose: true,
        };
        call!(self.pods, pod_sandbox_status, request)
    }

    /// Whether the runtime reports the last sandbox as ready.
    pub fn is_ready(&self) -> bool {
        let state = self.pod_status().status.unwrap().state;
        state == i32::from(PodSandboxState::SandboxReady)
    }

    /// Starts an app, and returns its id and its log file.
    fn start_container(&self, script: &str) -> (String, String) {
        let number = self.cri.apps.replace_with(|number| *number + 1);
        let name = format!("app-{number}");
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.clone(),
                attempt: 0,
            }),
            image: Some(ImageSpec {
                image: APP_IMAGE.to_owned(),
                ..Default::default()
            }),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig {
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: namespaces(NamespaceMode::Pod),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: self.pod(),
            config: Some(config),
            sandbox_config: Some(self.config("pod", NamespaceMode::Pod)),
        };
        let container = call!(self.pods, create_container, request).container_id;
        let request = StartContainerRequest {
            container_id: container.clone(),
        };
        call!(self.pods, start_container, request);
        (container, self.nest.path(&format!("logs/{name}.log")))
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
            let request = ContainerStatusRequest {
                container_id: container.clone(),
                verbose: false,
            };
            let status = call!(self.pods, container_status, request);
            let status = status.status.unwrap();
            code = status.exit_code;
            status.state == i32::from(ContainerState::ContainerExited)
        });
        // A line of the log: time, stream, "F" for full, and the output.
        let log = fs::read_to_string(log).unwrap();
        let said = log.lines().map(|line| line.splitn(4, ' ').last().unwrap());
        (code, said.collect::<Vec<_>>().join("\n"))
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
