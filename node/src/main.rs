//! use-pause: has a node's runtime take the image of pause for the sandbox of each pod, and goes back.

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
    Runtime, Wish,
    archive::Archive,
    command::find,
    containerd::Containerd,
    crio::Crio,
    file::Edit,
    host::{self, Own},
    k3s::K3s,
    switch, undo,
};

/// Has a node's runtime take the image of pause for the sandbox of each new pod: imports the image,
/// pins it, and names it in the configuration, once that is known to work
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
    /// Shows the runtime, the sandbox image, and which pause the running sandboxes have
    Status,
    /// Has the configuration as it was before
    Undo,
}

#[derive(Args)]
struct Options {
    /// Restart the runtime, wait until it serves the CRI, and go back if it does not
    #[arg(long, global = true)]
    restart: bool,
    /// Show the change as a unified diff, and do nothing
    #[arg(long, global = true, conflicts_with = "restart")]
    dry_run: bool,
    /// The image, by its full name; the archive's unless given
    #[arg(long, global = true, value_name = "NAME")]
    image: Option<String>,
    /// The image's archive; the one in this executable unless given
    #[arg(long, global = true, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// containerd's configuration; the one that it runs with unless given
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The root of a node's image that is being built
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["host", "restart"])]
    root: Option<PathBuf>,
    /// The node's root, as a container with the node's rights has it
    #[arg(long, global = true, value_name = "DIR")]
    host: Option<PathBuf>,
    /// The runtime, where there are several
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
            // One line, whatever an error from below has in it.
            let said = format!("{error:#}").replace('\n', " ");
            eprintln!("use-pause: {said}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { command, options }: &Arguments) -> Result<()> {
    ensure!(geteuid().is_root(), "this changes a node: run it as root");
    // Before another root hides the file.
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
    let mut own = None;
    let runtime: Box<dyn Runtime> = match name(options.runtime)? {
        Name::Containerd => {
            let mut containerd = Containerd::find(options.config.as_deref())?;
            if changes && options.root.is_some() {
                let (daemon, started) = Own::start(containerd)?;
                own = Some(daemon);
                containerd = started;
            }
            Box::new(containerd)
        }
        _ if options.config.is_some() => bail!("--config is for containerd"),
        Name::Crio => Box::new(Crio::find()?),
        Name::K3s => Box::new(K3s::K3S),
        Name::Rke2 => Box::new(K3s::RKE2),
    };
    let runtime = &*runtime;
    // A change does not stop halfway because nobody is told of it.
    let mut say = |line: &str| _ = writeln!(stdout(), "{line}");
    let done = match command {
        Some(Task::Status) => {
            for (what, said) in runtime.status(archive.as_ref().ok())? {
                writeln!(stdout(), "{what:<14} {said}")?;
            }
            Ok(())
        }
        Some(Task::Undo) if options.dry_run => show(runtime.plan_undo()?.as_ref()),
        Some(Task::Undo) => undo(runtime, options.restart, &mut say),
        None => {
            // A name that the runtime has needs no archive.
            let (image, archive) = match (&options.image, archive) {
                (Some(image), archive) => (image.clone(), archive.ok()),
                (None, archive) => {
                    let archive = archive?;
                    (archive.name.clone(), Some(archive))
                }
            };
            image
                .parse::<pause_image::name::Name>()
                .with_context(|| format!("{image:?} names no image"))?;
            if options.dry_run {
                show(runtime.plan(&image)?.as_ref())
            } else {
                let wish = Wish {
                    image: &image,
                    archive: archive.as_ref(),
                    restart: options.restart,
                };
                switch(runtime, &wish, &mut say)
            }
        }
    };
    drop(own);
    done
}

/// The runtime that is asked for, or the one that the node has.
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
            bail!("there are containerd and CRI-O here: say by --runtime which one the kubelet has")
        }
        (false, true) => Ok(Name::Crio),
        // It may run from where no PATH leads to.
        _ => Ok(Name::Containerd),
    }
}

/// Keeps a second run out for as long as this one lasts. What is locked is a folder that is there
/// anyway, so that nothing is left of it.
fn lock(folder: &Path) -> Result<File> {
    let shown = folder.display();
    let open = File::open(folder).with_context(|| format!("cannot open {shown}"))?;
    if open.try_lock().is_err() {
        eprintln!("use-pause: another use-pause runs: waiting for its end");
        open.lock()
            .with_context(|| format!("cannot lock {shown}"))?;
    }
    Ok(open)
}

fn show(edit: Option<&Edit>) -> Result<()> {
    let Some(edit) = edit else { return Ok(()) };
    let (old, new) = edit.texts();
    let name = edit.file.display().to_string();
    let diff = TextDiff::from_lines(old, new);
    write!(stdout(), "{}", diff.unified_diff().header(&name, &name))?;
    Ok(())
}
