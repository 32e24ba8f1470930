//! Measures pause beside its peers, and writes the numbers, a report and plots.

mod measure;
mod node;
mod plot;
mod report;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use engines::{
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
    /// Keep the numbers, the report and the plots in bench/run
    #[arg(long, conflicts_with = "quick")]
    keep: bool,
    /// Take the numbers from an earlier run's results.json instead of measuring
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    from: Option<PathBuf>,
}

/// A program that waits as the first process of a pod does: its name, the arguments that make it sleep until a
/// signal, and the argument that makes it print its version.
struct Peer(&'static str, &'static [&'static str], &'static str);

/// pause, what the others are compared with, which is upstream's way to build pause, and the others.
const PEERS: [Peer; 5] = [
    Peer("pause", &[], "-v"),
    Peer(BASE, &[], "-v"),
    Peer("c-musl", &[], "-v"),
    Peer("catatonit", &["-P"], "--version"),
    Peer("tini", &["--", "/bin/sleep", "infinity"], "--version"),
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
    fn sizes(&self) -> BTreeMap<String, u64> {
        let all = PLATFORMS.iter().filter_map(|platform| {
            let file = fs::metadata(self.path(platform)).ok()?;
            Some((platform.name.to_owned(), file.len()))
        });
        all.collect()
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
    let results = match &arguments.from {
        Some(file) => {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            serde_json::from_str(&text).with_context(|| file.display().to_string())?
        }
        None => measure(arguments.quick)?,
    };
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
            name: peer.0.to_owned(),
            version: peer.version()?,
            sizes: peer.sizes(),
            memory: measure::memory(peer, less(1000, 200), less(3, 1))?,
            start,
            reaping: measure::reaping(peer, less(100_000, 5_000) as u64)?,
        });
    }
    progress("a node, with each image in turn");
    let nodes = node::measure(&PEERS[..2], less(110, 20), less(5, 1))?;
    Ok(Results {
        machine: report::machine(),
        quick,
        pulled: node::pulled(&PEERS[0])?,
        figures,
        nodes,
    })
}

/// Writes the numbers, and then what is made of them.
fn write(directory: &Path, results: &Results) -> Result<()> {
    fs::create_dir_all(directory)?;
    let write = |name: &str, text: String| fs::write(directory.join(name), text);
    write(
        "results.json",
        serde_json::to_string_pretty(results)? + "\n",
    )?;
    write("report.md", report::report(results))?;
    write("size.svg", report::size_plot(results).draw())?;
    write("memory.svg", report::memory_plot(results).draw())?;
    Ok(())
}
