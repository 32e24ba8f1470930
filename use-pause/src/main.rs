//! use-pause: switches a node's runtime to the pause image for the sandbox of each pod, and back.

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use nix::unistd::geteuid;
use similar::TextDiff;
use std::{
    fs::File,
    io::{Write, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};
use use_pause::{
    Runtime,
    archive::Archive,
    command::find,
    containerd::Containerd,
    crio::Crio,
    file::Edit,
    host::{self, Own},
    k3s::K3s,
    switch, undo,
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
    /// Show the runtime, the sandbox image, and what the running sandboxes run
    Status,
    /// Restore the sandbox image from before
    Undo,
}

#[derive(Args)]
struct Options {
    /// Restart the runtime, wait until it serves the CRI, and go back if it does not
    #[arg(long, global = true)]
    restart: bool,
    /// Show the change as a unified diff, and change nothing
    #[arg(long, global = true, conflicts_with = "restart")]
    dry_run: bool,
    /// The image's full name [default: the archive's image]
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
    #[arg(long, global = true, value_name = "NAME")]
    runtime: Option<Name>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Containerd,
    Crio,
    K3s,
    Rke2,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // An error of a library may have several lines.
            eprintln!("use-pause: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { command, options }: &Arguments) -> Result<()> {
    ensure!(geteuid().is_root(), "this changes a node: run it as root");
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
    if let Some(root) = &options.root {
        host::enter_image(root)?;
    }
    // Runs until this function ends.
    let mut _own = None;
    let runtime: Box<dyn Runtime> = match name(options.runtime)? {
        Name::Containerd => {
            let mut containerd = Containerd::find(options.config.as_deref())?;
            if changes && options.root.is_some() {
                _own = Some(Own::start(&mut containerd)?);
            }
            Box::new(containerd)
        }
        _ if options.config.is_some() => bail!("--config is for containerd alone"),
        Name::Crio => Box::new(Crio::find()?),
        Name::K3s => Box::new(K3s::K3S),
        Name::Rke2 => Box::new(K3s::RKE2),
    };
    let runtime = &*runtime;
    match command {
        Some(Task::Status) => {
            for (what, said) in runtime.status(archive.as_ref().ok())? {
                writeln!(stdout(), "{what:<14} {said}")?;
            }
            Ok(())
        }
        Some(Task::Undo) if options.dry_run => show(runtime.plan_undo()?),
        Some(Task::Undo) => undo(runtime, options.restart),
        None => {
            let (image, archive) = match &options.image {
                // An image that the runtime has already needs no archive.
                Some(image) => (image.clone(), archive.ok()),
                None => archive.map(|archive| (archive.name.clone(), Some(archive)))?,
            };
            pause_image::name::check(&image)?;
            if options.dry_run {
                show(runtime.plan(&image)?)
            } else {
                switch(runtime, &image, archive.as_ref(), options.restart)
            }
        }
    }
}

/// The runtime that the user names, or the one that the node has.
fn name(asked: Option<Name>) -> Result<Name> {
    if let Some(name) = asked {
        return Ok(name);
    }
    if K3s::K3S.is_here() {
        return Ok(Name::K3s);
    }
    if K3s::RKE2.is_here() {
        return Ok(Name::Rke2);
    }
    match (find("containerd").is_some(), find("crio").is_some()) {
        (true, true) => {
            bail!(
                "found both containerd and CRI-O: name the one that the kubelet uses by --runtime"
            )
        }
        (false, true) => Ok(Name::Crio),
        // containerd may run from outside of PATH.
        _ => Ok(Name::Containerd),
    }
}

/// Keeps a second use-pause waiting as long as this one runs. It locks a folder that every node has,
/// so that no file is left behind.
fn lock(folder: &Path) -> Result<File> {
    let shown = folder.display();
    let open = File::open(folder).with_context(|| format!("cannot open {shown}"))?;
    if open.try_lock().is_err() {
        eprintln!("use-pause: waiting for another use-pause to end");
        open.lock()
            .with_context(|| format!("cannot lock {shown}"))?;
    }
    Ok(open)
}

fn show(edit: Option<Edit>) -> Result<()> {
    let Some(edit) = edit else { return Ok(()) };
    let name = edit.file.display().to_string();
    let (old, new) = (edit.old.unwrap_or_default(), edit.new.unwrap_or_default());
    let diff = TextDiff::from_lines(&old, &new);
    write!(stdout(), "{}", diff.unified_diff().header(&name, &name))?;
    Ok(())
}
