//! containerd as a kubelet uses it: by the Container Runtime Interface.

use super::{APP_IMAGE, Containerd, IMAGE, Nest};
use crate::{story::Engine, wait_until};
use hyper_util::rt::TokioIo;
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
use tokio::{net::UnixStream, runtime::Runtime};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// Makes a call, which must succeed: its answer.
macro_rules! call {
    ($cri:expr, $call:ident, $request:expr) => {{
        let mut client = $cri.client.clone();
        let answer = $cri.runtime.block_on(client.$call($request));
        answer
            .unwrap_or_else(|status| panic!("{status}"))
            .into_inner()
    }};
}

/// A PID namespace for all of a pod.
fn shared() -> NamespaceOption {
    NamespaceOption {
        pid: NamespaceMode::Pod.into(),
        ..Default::default()
    }
}

/// containerd with its CRI plugin, and a client of that.
pub struct Cri {
    containerd: Containerd,
    runtime: Runtime,
    client: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    /// The profile of system calls for the sandbox.
    seccomp: SecurityProfile,
    pod: RefCell<String>,
    apps: RefCell<u32>,
}

impl Cri {
    /// A client for that containerd, which gets the images.
    pub fn of(containerd: Containerd) -> Self {
        containerd.import();
        Self::without_images(containerd)
    }

    /// The same, for one that has the images that it needs.
    pub fn without_images(containerd: Containerd) -> Self {
        let socket = containerd.socket();
        Self::at(containerd, socket)
    }

    /// The same, that gets no image and may not run yet; its socket is there for the client.
    pub(crate) fn at(containerd: Containerd, socket: String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let channel = runtime.block_on(async {
            // The address is nobody's: the connector knows where to go.
            let connect = move |_: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            };
            let endpoint = Endpoint::from_static("http://localhost");
            endpoint.connect_with_connector_lazy(service_fn(connect))
        });
        Self {
            containerd,
            runtime,
            client: RuntimeServiceClient::new(channel.clone()),
            images: ImageServiceClient::new(channel),
            seccomp: SecurityProfile {
                profile_type: ProfileType::RuntimeDefault.into(),
                localhost_ref: String::new(),
            },
            pod: RefCell::default(),
            apps: RefCell::default(),
        }
    }

    /// The same, but that the sandbox gets that profile of system calls.
    pub fn with_seccomp(mut self, profile: &Path) -> Self {
        self.seccomp = SecurityProfile {
            profile_type: ProfileType::Localhost.into(),
            localhost_ref: profile.to_str().unwrap().to_owned(),
        };
        self
    }

    /// Where containerd listens.
    pub fn socket(&self) -> String {
        self.containerd.socket()
    }

    fn config(&self) -> PodSandboxConfig {
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: "pod".to_owned(),
                uid: "1".to_owned(),
                namespace: "test".to_owned(),
                attempt: 0,
            }),
            hostname: "pod".to_owned(),
            log_directory: self.nest().path("logs"),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}", self.nest().cgroup()),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(shared()),
                    readonly_rootfs: true,
                    seccomp: Some(self.seccomp.clone()),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// The image of that name, where the runtime lists it.
    fn image(&self, name: &str) -> Option<Image> {
        let mut images = self.images.clone();
        let list = async { images.list_images(ListImagesRequest::default()).await };
        let listed = self.runtime.block_on(list).unwrap().into_inner().images;
        let named = |it: &Image| it.repo_tags.iter().any(|tag| tag == name);
        listed.into_iter().find(named)
    }

    /// Whether the runtime has an image of that name.
    pub fn has(&self, image: &str) -> bool {
        self.image(image).is_some()
    }

    /// Whether the runtime tells a kubelet, and crictl, to let that image be when they clean up.
    pub fn is_pinned(&self, image: &str) -> bool {
        self.image(image).unwrap().pinned
    }

    /// Makes a sandbox of that name on the node's own network: its process, in the nest.
    pub fn start_sandbox(&self, name: &str) -> Pid {
        let on_the_node = NamespaceOption {
            network: NamespaceMode::Node.into(),
            ..shared()
        };
        let mut config = self.config();
        config.hostname.clear();
        let metadata = config.metadata.as_mut().unwrap();
        (metadata.name, metadata.uid) = (name.to_owned(), name.to_owned());
        let linux = config.linux.as_mut().unwrap();
        linux.security_context.as_mut().unwrap().namespace_options = Some(on_the_node);
        // The connection may be one to a containerd from before a restart.
        wait_until("served", || {
            let mut client = self.client.clone();
            let version = async { client.version(VersionRequest::default()).await };
            self.runtime.block_on(version).is_ok()
        });
        self.run_sandbox(config)
    }

    /// Makes a sandbox: its process, in the nest.
    fn run_sandbox(&self, config: PodSandboxConfig) -> Pid {
        let request = RunPodSandboxRequest {
            config: Some(config),
            ..Default::default()
        };
        let pod = call!(self, run_pod_sandbox, request);
        self.pod.replace(pod.pod_sandbox_id);
        Pid::from_raw(self.pod_info()["pid"].as_i64().unwrap() as i32)
    }

    /// Stops and removes all sandboxes.
    pub fn remove_sandboxes(&self) {
        for id in self.sandboxes() {
            self.pod.replace(id);
            self.stop();
            self.remove();
        }
    }

    /// The ids of all sandboxes.
    fn sandboxes(&self) -> Vec<String> {
        let request = ListPodSandboxRequest::default();
        let list = call!(self, list_pod_sandbox, request);
        list.items.into_iter().map(|pod| pod.id).collect()
    }

    /// Stops the last sandbox.
    fn stop(&self) {
        let request = StopPodSandboxRequest {
            pod_sandbox_id: self.pod.borrow().clone(),
        };
        call!(self, stop_pod_sandbox, request);
    }

    fn remove(&self) {
        let request = RemovePodSandboxRequest {
            pod_sandbox_id: self.pod.borrow().clone(),
        };
        call!(self, remove_pod_sandbox, request);
    }

    /// What containerd has to say of the last sandbox beyond the CRI.
    fn pod_info(&self) -> serde_json::Value {
        serde_json::from_str(&self.pod_status().info["info"]).unwrap()
    }

    fn pod_status(&self) -> PodSandboxStatusResponse {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: self.pod.borrow().clone(),
            verbose: true,
        };
        call!(self, pod_sandbox_status, request)
    }

    /// Whether the runtime takes the sandbox for ready.
    pub fn is_ready(&self) -> bool {
        let state = self.pod_status().status.unwrap().state;
        state == i32::from(PodSandboxState::SandboxReady)
    }

    /// Starts an app: its id, and where its output goes.
    fn start_container(&self, script: &str) -> (String, String) {
        let number = self.apps.replace_with(|number| *number + 1);
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
                    namespace_options: Some(shared()),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: self.pod.borrow().clone(),
            config: Some(config),
            sandbox_config: Some(self.config()),
        };
        let container = call!(self, create_container, request).container_id;
        let request = StartContainerRequest {
            container_id: container.clone(),
        };
        call!(self, start_container, request);
        (container, self.nest().path(&format!("logs/{name}.log")))
    }
}

impl Engine for Cri {
    fn nest(&self) -> &Nest {
        self.containerd.nest()
    }

    fn create_pod(&self) -> Pid {
        fs::create_dir_all(self.nest().path("logs")).unwrap();
        let sandbox = self.run_sandbox(self.config());
        assert!(self.is_ready());
        assert_eq!(self.pod_info()["image"], IMAGE);
        sandbox
    }

    fn start_app(&self, script: &str) {
        self.start_container(script);
    }

    /// Again is another container of the same kind, as a kubelet has it.
    fn run_app(&self, script: &str, _again: bool) -> (i32, String) {
        let (container, log) = self.start_container(script);
        let mut code = None;
        wait_until("ended", || {
            let request = ContainerStatusRequest {
                container_id: container.clone(),
                verbose: false,
            };
            let status = call!(self, container_status, request).status.unwrap();
            code = (status.state == i32::from(ContainerState::ContainerExited))
                .then_some(status.exit_code);
            code.is_some()
        });
        // Each line: time, stream, "F" for full, and what was said.
        let log = fs::read_to_string(log).unwrap();
        let said = log.lines().map(|line| line.splitn(4, ' ').last().unwrap());
        (code.unwrap(), said.collect::<Vec<_>>().join("\n"))
    }

    fn stop_pod(&self) {
        self.stop();
        assert!(!self.is_ready());
    }

    /// containerd 1.6 ends sandboxes by SIGKILL.
    fn sandbox_end(&self) -> Option<(i32, String)> {
        None
    }

    fn remove_pod(&self) -> String {
        self.remove();
        self.sandboxes().concat()
    }
}
