//! Measures pause beside its peers, and writes a report and plots.

mod measure;
mod node;
mod plot;
mod report;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use engines::{
    engine::IMAGE,
    program::{PLATFORMS, Platform},
    project,
};
use report::{Figures, Results};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Take fewer samples
    #[arg(long)]
    quick: bool,
    /// Keep the report and the plots in bench/run
    #[arg(long, conflicts_with = "quick")]
    keep: bool,
}

/// A program that waits as the first process of a pod does: its name, the arguments that make it sleep until a
/// signal, and the argument that makes it print its version.
struct Peer(&'static str, &'static [&'static str], &'static str);

/// pause, what the others are compared with, which is upstream's way to build pause, and the others.
const PEERS: [Peer; 4] = [
    Peer("pause", &[], "-v"),
    Peer(BASE, &[], "-v"),
    Peer("c-musl", &[], "-v"),
    Peer("catatonit", &["-P"], "--version"),
];
const BASE: &str = "c-glibc";

impl Peer {
    /// Where its program for a platform is, if there is one.
    fn path(&self, platform: &Platform) -> PathBuf {
        let path = match self.0 {
            "pause" => format!("pause/{}/pause", platform.arch),
            name => format!("bench/peers/{}/{name}", platform.name),
        };
        project().join("target").join(path)
    }

    /// Runs it on this machine, without input and output.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path(Platform::native()));
        command.args(arguments).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The bytes of its file on each platform.
    fn sizes(&self) -> BTreeMap<&'static str, u64> {
        let size = |it: &Platform| Some((it.name, fs::metadata(self.path(it)).ok()?.len()));
        PLATFORMS.iter().filter_map(size).collect()
    }

    /// Its version on this machine, and how it was built.
    fn version(&self) -> Result<String> {
        let peers = project().join("target/bench/peers");
        let all = fs::read_to_string(peers.join(Platform::native().name).join("built.tsv"))?;
        let mut all = all.lines().filter_map(|line| line.split_once('\t'));
        let found = all.find(|it| it.0 == self.0);
        Ok(found
            .map_or(env!("CARGO_PKG_VERSION"), |it| it.1)
            .to_owned())
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let results = measure(arguments.quick)?;
    let run = project().join("target/bench/run");
    write(&run, &results)?;
    if arguments.keep {
        write(&project().join("bench/run"), &results)?;
    }
    println!("bench: {}", run.join("report.md").display());
    Ok(())
}

fn measure(quick: bool) -> Result<Results> {
    ensure!(
        fs::metadata("/proc/self")?.uid() == 0,
        "bench needs root, for cgroups, PID namespaces and containerd"
    );
    let mut files = PEERS.iter().map(|it| it.path(Platform::native()));
    if let Some(file) = files.find(|it| !it.exists()) {
        bail!(
            "{} is missing; `make bench` builds it for amd64 and arm64",
            file.display()
        );
    }
    let begin = Instant::now();
    let progress = |what: &str| eprintln!("{:>4} s  {what}", begin.elapsed().as_secs());
    let less = |full, few| if quick { few } else { full };

    progress("start");
    let starts = measure::start(&PEERS, less(400, 40));
    let mut figures = Vec::new();
    for (peer, start) in PEERS.iter().zip(starts) {
        progress(&format!("memory and reaping: {}", peer.0));
        figures.push(Figures {
            name: peer.0,
            version: peer.version()?,
            sizes: peer.sizes(),
            memory: measure::memory(peer, less(1000, 200), less(3, 1))?,
            start,
            reaping: measure::reaping(peer, less(100_000, 5_000) as u64)?,
        });
    }
    progress("a node, with each image in turn");
    let nodes = node::measure(&PEERS[..2], less(110, 20), less(5, 1));
    let scratch = tempfile::tempdir()?;
    let archive = scratch.path().join("image.tar");
    Ok(Results {
        machine: report::machine(),
        quick,
        pulled: node::pack(&PEERS[0], &PLATFORMS, IMAGE, &archive),
        figures,
        nodes,
    })
}

/// Writes the report and the plots.
fn write(directory: &Path, results: &Results) -> Result<()> {
    fs::create_dir_all(directory)?;
    let write = |name: &str, text: String| fs::write(directory.join(name), text);
    write("report.md", report::report(results))?;
    write("size.svg", report::size_plot(results).draw())?;
    write("memory.svg", report::memory_plot(results).draw())?;
    Ok(())
}
