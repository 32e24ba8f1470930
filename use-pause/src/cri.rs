//! A client of the Container Runtime Interface (CRI, runtime.v1), which each runtime serves to its kubelet
//! on a unix socket. It has the messages and fields that are used, and no others; their numbers are those
//! of Kubernetes' `cri-api/pkg/apis/runtime/v1/api.proto`.

use crate::process::caught;
use anyhow::{Result, anyhow};
use prost::Message;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{runtime, time::timeout};
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;

/// Defines messages of protobuf: each field's name, Rust type, kind and number.
#[macro_export]
macro_rules! messages {
    ($($name:ident { $($field:ident: $type:ty = ($($kind:tt)+) $tag:tt),* })*) => {$(
        #[derive(Clone, PartialEq, prost::Message)]
        #[allow(missing_docs)]
        pub struct $name {
            $(#[prost($($kind)+, tag = $tag)] pub $field: $type,)*
        }
    )*};
}

/// Defines calls: the service, the call, its messages, and its deadline in seconds.
#[macro_export]
macro_rules! calls {
    ($($service:ident.$call:ident($request:ty) -> $response:ty, $seconds:literal;)*) => {$(
        impl $crate::cri::Call for $request {
            const PATH: &str = concat!("/runtime.v1.", stringify!($service), "/", stringify!($call));
            const SECONDS: u64 = $seconds;
            type Response = $response;
        }
    )*};
}

type Map = HashMap<String, String>;

messages! {
    Empty {}

    VersionRequest {}

    StatusRequest { verbose: bool = (bool) "1" }
    StatusResponse {
        status: Option<RuntimeStatus> = (message, optional) "1",
        info: Map = (map = "string, string") "2"
    }
    RuntimeStatus { conditions: Vec<RuntimeCondition> = (message, repeated) "1" }
    RuntimeCondition {
        r#type: String = (string) "1",
        status: bool = (bool) "2",
        reason: String = (string) "3",
        message: String = (string) "4"
    }

    RuntimeConfigRequest {}
    RuntimeConfigResponse { linux: Option<LinuxRuntimeConfiguration> = (message, optional) "1" }
    LinuxRuntimeConfiguration { cgroup_driver: i32 = (enumeration = "CgroupDriver") "1" }

    ImageStatusRequest { image: Option<ImageSpec> = (message, optional) "1" }
    ImageStatusResponse { image: Option<Image> = (message, optional) "1" }
    ImageSpec { image: String = (string) "1" }
    Image {
        id: String = (string) "1",
        repo_tags: Vec<String> = (string, repeated) "2",
        pinned: bool = (bool) "8"
    }

    ListPodSandboxRequest {}
    ListPodSandboxResponse { items: Vec<PodSandbox> = (message, repeated) "1" }
    PodSandbox {
        id: String = (string) "1",
        metadata: Option<PodSandboxMetadata> = (message, optional) "2",
        state: i32 = (enumeration = "PodSandboxState") "3"
    }

    PodSandboxStatusRequest {
        pod_sandbox_id: String = (string) "1",
        verbose: bool = (bool) "2"
    }
    PodSandboxStatusResponse {
        status: Option<PodSandboxStatus> = (message, optional) "1",
        info: Map = (map = "string, string") "2"
    }
    PodSandboxStatus { state: i32 = (enumeration = "PodSandboxState") "3" }

    RunPodSandboxRequest { config: Option<PodSandboxConfig> = (message, optional) "1" }
    RunPodSandboxResponse { pod_sandbox_id: String = (string) "1" }
    PodSandboxConfig {
        metadata: Option<PodSandboxMetadata> = (message, optional) "1",
        log_directory: String = (string) "3",
        linux: Option<LinuxPodSandboxConfig> = (message, optional) "8"
    }
    PodSandboxMetadata {
        name: String = (string) "1",
        uid: String = (string) "2",
        namespace: String = (string) "3",
        attempt: u32 = (uint32) "4"
    }
    LinuxPodSandboxConfig {
        cgroup_parent: String = (string) "1",
        security_context: Option<LinuxSandboxSecurityContext> = (message, optional) "2"
    }
    LinuxSandboxSecurityContext {
        namespace_options: Option<NamespaceOption> = (message, optional) "1",
        readonly_rootfs: bool = (bool) "4",
        seccomp: Option<SecurityProfile> = (message, optional) "9"
    }
    NamespaceOption {
        network: i32 = (enumeration = "NamespaceMode") "1",
        pid: i32 = (enumeration = "NamespaceMode") "2"
    }
    SecurityProfile {
        profile_type: i32 = (enumeration = "ProfileType") "1",
        localhost_ref: String = (string) "2"
    }

    StopPodSandboxRequest { pod_sandbox_id: String = (string) "1" }
    RemovePodSandboxRequest { pod_sandbox_id: String = (string) "1" }
}

/// Defines enumerations of protobuf, and their values in use.
macro_rules! enumerations {
    ($($name:ident { $($value:ident = $number:tt),* })*) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
        #[repr(i32)]
        #[allow(missing_docs)]
        pub enum $name { $($value = $number),* }
    )*};
}

enumerations! {
    CgroupDriver { Systemd = 0, Cgroupfs = 1 }
    PodSandboxState { Ready = 0, NotReady = 1 }
    NamespaceMode { Pod = 0, Node = 2 }
    ProfileType { RuntimeDefault = 0, Localhost = 2 }
}

/// A request of the CRI.
pub trait Call: Message + 'static {
    /// The path of the call in HTTP.
    const PATH: &str;
    /// Its deadline.
    const SECONDS: u64;
    type Response: Message + Default + 'static;
}

calls! {
    RuntimeService.Version(VersionRequest) -> Empty, 5;
    RuntimeService.Status(StatusRequest) -> StatusResponse, 10;
    RuntimeService.RuntimeConfig(RuntimeConfigRequest) -> RuntimeConfigResponse, 10;
    RuntimeService.ListPodSandbox(ListPodSandboxRequest) -> ListPodSandboxResponse, 10;
    RuntimeService.PodSandboxStatus(PodSandboxStatusRequest) -> PodSandboxStatusResponse, 10;
    RuntimeService.RunPodSandbox(RunPodSandboxRequest) -> RunPodSandboxResponse, 60;
    RuntimeService.StopPodSandbox(StopPodSandboxRequest) -> Empty, 30;
    RuntimeService.RemovePodSandbox(RemovePodSandboxRequest) -> Empty, 30;
    ImageService.ImageStatus(ImageStatusRequest) -> ImageStatusResponse, 10;
}

/// The CRI at a socket. Each call makes a connection of its own, so that a restart of the runtime between
/// two of them does not matter.
#[derive(Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn of(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Makes a call. The error is one line: the call, and the runtime's message or why there is none.
    pub fn call<C: Call>(&self, request: C) -> Result<C::Response> {
        let name = C::PATH.rsplit('/').next().unwrap_or_default();
        let deadline = Duration::from_secs(C::SECONDS);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // A timeout starts in the runtime.
        let answer = async { timeout(deadline, self.unary(request, deadline)).await };
        let late = |_| Err(anyhow!("no answer in {} s", C::SECONDS));
        // tokio panics where the kernel does not let it wake itself.
        caught(|| runtime.block_on(answer).unwrap_or_else(late))
            .map_err(|error| anyhow!("{name}: {}", error.to_string().replace('\n', " ")))
    }

    async fn unary<C: Call>(&self, request: C, deadline: Duration) -> Result<C::Response> {
        let socket = self.socket.display();
        let endpoint = Endpoint::from_shared(format!("unix://{socket}"))?;
        let channel = endpoint.connect().await.map_err(|error| {
            anyhow!(
                "cannot connect to {socket}: {}",
                anyhow!(error).root_cause()
            )
        })?;
        let mut grpc = Grpc::new(channel);
        let unserved = |error| anyhow!("cannot connect to {socket}: {error}");
        grpc.ready().await.map_err(unserved)?;
        let mut request = Request::new(request);
        // Later than ours, whose message names the call.
        request.set_timeout(deadline + Duration::from_secs(1));
        let codec = ProstCodec::default();
        let path = PathAndQuery::from_static(C::PATH);
        let answer = grpc.unary(request, path, codec).await;
        let answer = answer.map_err(|status: Status| anyhow!("{}", status.message()))?;
        Ok(answer.into_inner())
    }
}
