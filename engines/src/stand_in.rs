//! Stand-ins for runtimes that are not at hand: a server of the CRI that starts a process for each sandbox. It
//! behaves as CRI-O, k3s and RKE2 do by their sources and by public reports.

use crate::{
    engine::{IMAGE, Nest, archive},
    output,
    program::Program,
};
use h2::server;
use http::{HeaderMap, Response};
use prost::Message;
use serde_json::json;
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
use use_pause::{
    archive::Archive,
    cri::{
        CgroupDriver, Image, ImageStatusRequest, ImageStatusResponse, LinuxRuntimeConfiguration,
        ListPodSandboxResponse, PodSandbox, PodSandboxMetadata, PodSandboxStatusRequest,
        PodSandboxStatusResponse, RemovePodSandboxRequest, RunPodSandboxRequest,
        RunPodSandboxResponse, RuntimeConfigResponse,
    },
};

type IdOf = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A runtime.
pub struct StandIn {
    /// The image of a new sandbox, as its configuration was when it last started, and the command of the
    /// sandbox's process, or why there is none.
    pub sandbox: Box<dyn Fn() -> (String, Result<String, String>) + Send + Sync>,
    /// The id of an image in its store.
    pub id: IdOf,
    /// Its cgroup driver, if it has the call RuntimeConfig.
    pub driver: Option<CgroupDriver>,
    /// Whether it runs a process that can be seen.
    pub has_process: bool,
    /// A call that it never answers.
    pub hangs: &'static str,
}

impl Default for StandIn {
    /// All of its sandboxes run our program.
    fn default() -> Self {
        Self {
            sandbox: Box::new(|| (IMAGE.to_owned(), Ok(ours()))),
            id: Box::new(|_| Archive::read(&archive()).unwrap().ids.pop()),
            driver: Some(CgroupDriver::Systemd),
            has_process: true,
            hangs: "",
        }
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
type Pods = HashMap<String, (PodSandboxMetadata, String, String)>;

/// A served stand-in.
pub struct Served {
    pub pods: Arc<Mutex<Pods>>,
}

impl Served {
    /// Serves the CRI at a socket of the nest until the test ends. Its sandboxes' processes run in the nest.
    pub fn start(nest: &Nest, socket: &str, it: StandIn) -> Self {
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

async fn serve(stream: net::UnixStream, it: Arc<Answers>) {
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
            if it.it.hangs == call {
                std::future::pending::<()>().await;
            }
            let response = Response::builder().header("content-type", "application/grpc");
            let answer = match it.answer(&call, message) {
                Ok(answer) => answer,
                Err(error) => {
                    let refusal = response.header("grpc-status", "2");
                    let refusal = refusal.header("grpc-message", error).body(()).unwrap();
                    return respond.send_response(refusal, true).map(drop);
                }
            };
            let mut stream = respond.send_response(response.body(()).unwrap(), false)?;
            // A message of gRPC: not compressed, its length, itself.
            let length = (answer.len() as u32).to_be_bytes();
            stream.send_data([&[0], &length[..], &answer].concat().into(), false)?;
            let mut end = HeaderMap::new();
            end.insert("grpc-status", "0".parse().unwrap());
            stream.send_trailers(end)
        });
    }
}

struct Answers {
    it: StandIn,
    pods: Arc<Mutex<Pods>>,
    shell: Shell,
}

fn decode<T: Message + Default>(request: &[u8]) -> T {
    T::decode(request).unwrap()
}

impl Answers {
    fn answer(&self, call: &str, request: &[u8]) -> Result<Vec<u8>, String> {
        let (it, mut pods) = (&self.it, self.pods.lock().unwrap());
        Ok(match call {
            // A message whose fields are not set has no bytes.
            "Version" | "Status" | "StopPodSandbox" => Vec::new(),
            "RuntimeConfig" => {
                let cgroup_driver = it.driver.ok_or("unknown method RuntimeConfig")?.into();
                let linux = Some(LinuxRuntimeConfiguration { cgroup_driver });
                RuntimeConfigResponse { linux }.encode_to_vec()
            }
            "ImageStatus" => {
                let name = decode::<ImageStatusRequest>(request).image.unwrap().image;
                let image = (it.id)(&name).map(|id| Image {
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
                let items = items.collect();
                ListPodSandboxResponse { items }.encode_to_vec()
            }
            "RunPodSandbox" => {
                let config = decode::<RunPodSandboxRequest>(request).config.unwrap();
                let is_slice = config.linux.unwrap().cgroup_parent.ends_with(".slice");
                // As the drivers of runc and CRI-O refuse the other's.
                match it.driver {
                    Some(CgroupDriver::Cgroupfs) if is_slice => {
                        return Err("cgroupfs manager conflicts with a slice".into());
                    }
                    None | Some(CgroupDriver::Systemd) if !is_slice => {
                        return Err("expected cgroupsPath to be of format slice:prefix:name".into());
                    }
                    _ => {}
                }
                let (image, command) = (it.sandbox)();
                let command = command?;
                // Returns once the process runs the program.
                let start = format!(
                    "setsid sh -c 'echo $$; exec unshare --mount {command} >/dev/null 2>&1' & \
                     until readlink /proc/$!/exe | grep -q -e pause$ -e sleep$; do sleep 0.01; done"
                );
                let pid = output(&mut self.shell.command(&start)).trim().to_owned();
                let metadata = config.metadata.unwrap();
                let pod_sandbox_id = format!("{}-{}", metadata.uid, pods.len());
                pods.insert(pod_sandbox_id.clone(), (metadata, pid, image));
                RunPodSandboxResponse { pod_sandbox_id }.encode_to_vec()
            }
            "PodSandboxStatus" => {
                let id = decode::<PodSandboxStatusRequest>(request).pod_sandbox_id;
                let (_, pid, image) = pods.get(&id).ok_or("not found")?;
                let pid = pid.parse::<i64>().ok().filter(|_| it.has_process);
                let mut status = PodSandboxStatusResponse::default();
                let info = json!({"pid": pid, "image": image}).to_string();
                status.info.insert("info".to_owned(), info);
                status.encode_to_vec()
            }
            "RemovePodSandbox" => {
                let id = decode::<RemovePodSandboxRequest>(request).pod_sandbox_id;
                let (_, pid, _) = pods.remove(&id).ok_or("not found")?;
                output(&mut self.shell.command(&format!("kill -9 {pid}")));
                Vec::new()
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
