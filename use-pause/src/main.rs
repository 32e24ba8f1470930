//! use-pause: switches a node's runtime to the pause image for the sandbox of each pod, and back.

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use nix::{
    sys::signal::{SigSet, Signal},
    unistd::geteuid,
};
use similar::TextDiff;
use std::{
    fs::File,
    panic,
    path::{Path, PathBuf},
    process::ExitCode,
};
use use_pause::{
    Node, Runtime,
    archive::Archive,
    command::find,
    containerd::Containerd,
    cri::Client,
    crio::Crio,
    file::Edit,
    host::{self, Own},
    k3s::K3s,
    output::Output,
    probe::probe,
    process::{caught, note_signals},
    status,
};

/// Switches a node's runtime to the pause image for the sandbox of each new pod: imports the image,
/// pins it, and names it in the configuration once that is known to work
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Task>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Task {
    /// Show the runtime, the sandbox image, and what the running sandboxes run; fails unless new pods get pause
    Status,
    /// Start a sandbox as a kubelet would, look at the program in it, and remove it; fails unless that is pause
    Probe,
    /// Restore the configuration from before the last switch
    Undo,
    /// Sleep until SIGTERM or SIGINT, for a pod that has switched its node
    #[command(hide = true)]
    Sleep,
}

#[derive(Args)]
struct Options {
    /// Restart the runtime, start a sandbox, and go back if that does not run pause
    #[arg(long, global = true)]
    restart: bool,
    /// Show the change as a unified diff, and change nothing
    #[arg(long, global = true, conflicts_with = "restart")]
    dry_run: bool,
    /// Import the image again at each start of the runtime, by a drop-in of its unit
    #[arg(long, global = true)]
    import_at_start: bool,
    /// The full name to import the image under [default: the archive's]
    #[arg(long, global = true, value_name = "NAME")]
    image: Option<String>,
    /// The image's archive [default: the one in this executable]
    #[arg(long, global = true, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// containerd's configuration [default: the one it runs with]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The root of a node image that is being built
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["host", "restart"])]
    root: Option<PathBuf>,
    /// The node's root as mounted in a privileged container
    #[arg(long, global = true, value_name = "DIR")]
    host: Option<PathBuf>,
    /// The runtime, if the node has several
    #[arg(long, global = true, value_name = "NAME", value_parser = ["containerd", "crio", "k3s", "rke2"])]
    runtime: Option<String>,
    /// The socket of the CRI, for `probe` on any runtime
    #[arg(long, global = true, value_name = "FILE")]
    cri: Option<PathBuf>,
    /// One JSON object in place of the lines
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    output: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let out = Output::new(arguments.options.output == "json");
    panic::set_hook(Box::new(|_| {}));
    let result = caught(|| run(&arguments, &out));
    let error = result.as_ref().err();
    // An error of a library may have several lines.
    let error = error.map(|error| format!("{error:#}").replace('\n', " "));
    out.set("error", error.clone());
    out.end();
    if let Some(error) = error {
        eprintln!("use-pause: {error}");
    }
    if result.is_ok_and(|is_well| is_well) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Returns whether all is well.
fn run(Arguments { command, options }: &Arguments, out: &Output) -> Result<bool> {
    if let Some(Task::Sleep) = command {
        // Blocked, as the first process of a container gets no signal that it does not handle.
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        signals.thread_block()?;
        signals.wait()?;
        return Ok(true);
    }
    ensure!(geteuid().is_root(), "must be run as root");
    // Another root may hide the file.
    let archive = match &options.archive {
        Some(file) => Archive::read(file),
        None => Archive::embedded(),
    };
    if let Some(root) = &options.host {
        host::enter(root)?;
    }
    let changes = !options.dry_run && !matches!(command, Some(Task::Status));
    let locked = options.root.as_deref().unwrap_or(Path::new("/run"));
    let _lock = if changes { Some(lock(locked)?) } else { None };
    if changes {
        note_signals()?;
    }
    let archive = archive?;
    if let (Some(Task::Probe), Some(socket)) = (command, &options.cri) {
        return probed(socket, &archive, out);
    }
    if let Some(root) = &options.root {
        host::enter_image(root)?;
    }
    // Runs until this function ends.
    let mut _own = None;
    let runtime: Box<dyn Runtime> = match name(options.runtime.as_deref())? {
        "containerd" => {
            let mut containerd = Containerd::find(options.config.as_deref())?;
            if changes && options.root.is_some() {
                _own = Some(Own::start(&mut containerd)?);
            }
            Box::new(containerd)
        }
        _ if options.config.is_some() => bail!("--config is for containerd alone"),
        "crio" => Box::new(Crio::find()?),
        "k3s" => Box::new(K3s::K3S),
        _ => Box::new(K3s::RKE2),
    };
    let runtime = &*runtime;
    let name = options.image.clone();
    let name = name.unwrap_or_else(|| runtime.name_for(&archive.name));
    let archive = archive.named(&name)?;
    let node = Node {
        runtime,
        archive: &archive,
        out,
        restart: options.restart,
        at_start: options.import_at_start,
        is_off: options.root.is_some(),
    };
    match command {
        Some(Task::Status) => return status(runtime, &archive, out),
        Some(Task::Probe) => return probed(runtime.socket(), &archive, out),
        Some(Task::Undo) if options.dry_run => show(node.plan_undo()?, out),
        Some(Task::Undo) => node.undo()?,
        _ if options.dry_run => show(runtime.plan(&archive.name)?, out),
        _ => node.switch()?,
    }
    Ok(true)
}

/// Starts a sandbox, and prints what it runs. Returns whether that is ours.
fn probed(socket: &Path, archive: &Archive, out: &Output) -> Result<bool> {
    let program = probe(&Client::of(socket), archive)?;
    out.line(&format!("a new sandbox runs {program}"));
    out.set("probe", program.to_json());
    Ok(program.ours.is_some())
}

/// The name of the runtime that the user names, or that the node has.
fn name(asked: Option<&str>) -> Result<&str> {
    let (containerd, crio) = (find("containerd").is_some(), find("crio").is_some());
    Ok(match asked {
        Some(name) => name,
        None if K3s::K3S.is_here() => "k3s",
        None if K3s::RKE2.is_here() => "rke2",
        None if containerd && crio => {
            bail!("found both containerd and CRI-O: pick one with --runtime")
        }
        None if crio => "crio",
        // It may run from outside of PATH.
        None => "containerd",
    })
}

/// Keeps a second use-pause waiting as long as this one runs. It locks a directory that every node has,
/// so that no file is left behind.
fn lock(directory: &Path) -> Result<File> {
    let shown = directory.display();
    let open = File::open(directory).with_context(|| format!("cannot open {shown}"))?;
    if open.try_lock().is_err() {
        eprintln!("use-pause: waiting for another use-pause to end");
        open.lock()
            .with_context(|| format!("cannot lock {shown}"))?;
    }
    Ok(open)
}

fn show(edit: Option<Edit>, out: &Output) {
    let Some(edit) = edit else { return };
    let name = edit.file.display().to_string();
    let [old, new] = [edit.old, edit.new].map(|it| it.content.unwrap_or_default());
    let diff = TextDiff::from_lines(&old, &new);
    let diff = diff.unified_diff().header(&name, &name).to_string();
    out.line(diff.trim_end_matches('\n'));
    out.set("diff", diff);
}
