//! Stand-ins for runtimes that are not at hand: a server of the CRI that starts a process for each sandbox. It
//! behaves as CRI-O, k3s and RKE2 do by their sources and by public reports.

use crate::{engine::Nest, output, program::Program};
use h2::server;
use http::{HeaderMap, Response};
use prost::{Message, bytes::Bytes};
use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    os::unix::net::UnixListener,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};
use tokio::{net, runtime, task};
use use_pause::cri::{
    CgroupDriver, Empty, Image, ImageStatusRequest, ImageStatusResponse, LinuxRuntimeConfiguration,
    ListPodSandboxResponse, PodSandbox, PodSandboxMetadata, PodSandboxStatusRequest,
    PodSandboxStatusResponse, RemovePodSandboxRequest, RunPodSandboxRequest, RunPodSandboxResponse,
    RuntimeConfigResponse, RuntimeStatus, StatusResponse, VersionResponse,
};

/// A runtime.
pub trait StandIn: Send + Sync + 'static {
    /// The image of a new sandbox, as its configuration was when it last started.
    fn sandbox_image(&self) -> String;
    /// The id of an image in its store.
    fn image_id(&self, name: &str) -> Option<String>;
    /// The command of the sandbox's process, or why there is none.
    fn command(&self, image: &str) -> Result<String, String>;
    /// Its cgroup driver, if it has the call RuntimeConfig.
    fn driver(&self) -> Option<CgroupDriver> {
        Some(CgroupDriver::Systemd)
    }
    /// Whether it runs a process that can be seen.
    fn has_process(&self) -> bool {
        true
    }
    /// Calls that it never answers.
    fn hangs(&self, _call: &str) -> bool {
        false
    }
}

/// Runs scripts in a nest, from any thread.
#[derive(Clone)]
pub struct Shell(Vec<OsString>);

impl Shell {
    pub fn of(nest: &Nest) -> Self {
        let enter = nest.daemon("sh");
        let words = [enter.get_program()].into_iter().chain(enter.get_args());
        Self(words.map(OsString::from).collect())
    }

    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]).args(["-c", script]);
        command
    }
}

/// The sandboxes: their names, processes and images.
type Pods = HashMap<String, (PodSandboxMetadata, i64, String)>;

/// A served stand-in.
pub struct Served {
    pub pods: Arc<Mutex<Pods>>,
}

impl Served {
    /// Serves the CRI at a socket of the nest until the test ends. Its sandboxes' processes run in the nest.
    pub fn start(nest: &Nest, socket: &str, it: impl StandIn) -> Self {
        let file = nest.root(socket);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(&file).unwrap();
        listener.set_nonblocking(true).unwrap();
        let pods = Arc::new(Mutex::new(Pods::new()));
        let it = Arc::new(Answers {
            it,
            pods: pods.clone(),
            shell: Shell::of(nest),
        });
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = net::UnixListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    task::spawn(serve(stream, it.clone()));
                }
            });
        });
        Self { pods }
    }
}

async fn serve<S: StandIn>(stream: net::UnixStream, it: Arc<Answers<S>>) {
    let Ok(mut connection) = server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let it = it.clone();
        task::spawn(async move {
            let call = request.uri().path().rsplit('/').next().unwrap().to_owned();
            let mut body = request.into_body();
            let mut message = Vec::new();
            while let Some(Ok(part)) = body.data().await {
                message.extend_from_slice(&part);
                _ = body.flow_control().release_capacity(part.len());
            }
            let Some(message) = message.get(5..) else {
                return Ok(());
            };
            if it.it.hangs(&call) {
                std::future::pending::<()>().await;
            }
            let response = Response::builder().header("content-type", "application/grpc");
            let mut end = HeaderMap::new();
            // A message of gRPC: not compressed, its length, itself.
            match it.answer(&call, message) {
                Ok(answer) => {
                    end.insert("grpc-status", "0".parse().unwrap());
                    let mut stream = respond.send_response(response.body(()).unwrap(), false)?;
                    let mut framed = vec![0];
                    framed.extend((answer.len() as u32).to_be_bytes());
                    framed.extend(answer);
                    stream.send_data(Bytes::from(framed), false)?;
                    stream.send_trailers(end)
                }
                Err(error) => {
                    let response = response
                        .header("grpc-status", "2")
                        .header("grpc-message", error);
                    respond
                        .send_response(response.body(()).unwrap(), true)
                        .map(drop)
                }
            }
        });
    }
}

struct Answers<S> {
    it: S,
    pods: Arc<Mutex<Pods>>,
    shell: Shell,
}

impl<S: StandIn> Answers<S> {
    fn answer(&self, call: &str, request: &[u8]) -> Result<Vec<u8>, String> {
        let mut pods = self.pods.lock().unwrap();
        Ok(match call {
            "Version" => VersionResponse::default().encode_to_vec(),
            "Status" => StatusResponse {
                status: Some(RuntimeStatus::default()),
                ..Default::default()
            }
            .encode_to_vec(),
            "RuntimeConfig" => {
                let driver = self.it.driver().ok_or("unknown method RuntimeConfig")?;
                let mut linux = LinuxRuntimeConfiguration::default();
                linux.set_cgroup_driver(driver);
                RuntimeConfigResponse { linux: Some(linux) }.encode_to_vec()
            }
            "ImageStatus" => {
                let request = ImageStatusRequest::decode(request).unwrap();
                let id = self.it.image_id(&request.image.unwrap().image);
                let image = id.map(|id| Image {
                    id,
                    pinned: true,
                    ..Default::default()
                });
                ImageStatusResponse { image }.encode_to_vec()
            }
            "ListPodSandbox" => {
                let items = pods.iter().map(|(id, (metadata, ..))| PodSandbox {
                    id: id.clone(),
                    metadata: Some(metadata.clone()),
                    state: 0,
                });
                ListPodSandboxResponse {
                    items: items.collect(),
                }
                .encode_to_vec()
            }
            "RunPodSandbox" => {
                let config = RunPodSandboxRequest::decode(request)
                    .unwrap()
                    .config
                    .unwrap();
                let linux = config.linux.unwrap();
                let is_slice = linux.cgroup_parent.ends_with(".slice");
                // As the drivers of runc and CRI-O refuse the other's.
                match self.it.driver().unwrap_or(CgroupDriver::Systemd) {
                    CgroupDriver::Systemd if !is_slice => {
                        return Err("expected cgroupsPath to be of format slice:prefix:name".into());
                    }
                    CgroupDriver::Cgroupfs if is_slice => {
                        return Err("cgroupfs manager conflicts with a slice".into());
                    }
                    _ => {}
                }
                let image = self.it.sandbox_image();
                let command = self.it.command(&image)?;
                // Returns once the process runs the program.
                let script = format!("echo $$; exec unshare --mount {command} >/dev/null 2>&1");
                let start = format!(
                    "setsid sh -c '{script}' & until readlink /proc/$!/exe | grep -q -e pause$ -e sleep$; do sleep 0.01; done"
                );
                let pid: i64 = output(&mut self.shell.command(&start))
                    .trim()
                    .parse()
                    .unwrap();
                let id = format!("{}-{}", config.metadata.as_ref().unwrap().uid, pods.len());
                pods.insert(id.clone(), (config.metadata.unwrap(), pid, image));
                RunPodSandboxResponse { pod_sandbox_id: id }.encode_to_vec()
            }
            "PodSandboxStatus" => {
                let request = PodSandboxStatusRequest::decode(request).unwrap();
                let (_, pid, image) = pods.get(&request.pod_sandbox_id).ok_or("not found")?;
                let info = if self.it.has_process() {
                    format!("{{\"pid\":{pid},\"image\":\"{image}\"}}")
                } else {
                    format!("{{\"image\":\"{image}\"}}")
                };
                PodSandboxStatusResponse {
                    info: [("info".to_owned(), info)].into(),
                    ..Default::default()
                }
                .encode_to_vec()
            }
            "StopPodSandbox" => Empty {}.encode_to_vec(),
            "RemovePodSandbox" => {
                let request = RemovePodSandboxRequest::decode(request).unwrap();
                let (_, pid, _) = pods.remove(&request.pod_sandbox_id).ok_or("not found")?;
                output(&mut self.shell.command(&format!("kill -9 {pid}")));
                Empty {}.encode_to_vec()
            }
            _ => return Err(format!("unknown method {call}")),
        })
    }
}

/// The command of a sandbox that runs our program.
pub fn ours() -> String {
    Program::native().path.to_str().unwrap().to_owned()
}

/// The command of a sandbox that runs another.
pub const OTHER: &str = "/bin/sleep 100000";
