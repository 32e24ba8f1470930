//! Measures pause and its peers, and writes the numbers, a report and a plot.

mod machine;
mod measure;
mod memory;
mod node;
mod peers;
mod plot;
mod process;
mod reaping;
mod report;
mod size;
mod start;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use engines::{engine::Docker, project};
use itertools::izip;
use machine::Machine;
use nix::unistd::Uid;
use pause_image::layout;
use peers::Peer;
use report::{Figures, Results};
use size::Size;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Take fewer samples: one minute instead of five
    #[arg(long)]
    quick: bool,
    /// Keep the numbers, the report and the plot in bench/run
    #[arg(long, conflicts_with = "quick")]
    keep: bool,
    /// Read the numbers from an earlier run's results.json instead of measuring
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    from: Option<PathBuf>,
    /// Measure only sizes, which do not depend on load, and take the rest from the kept run
    #[arg(long, conflicts_with_all = ["quick", "from"])]
    sizes: bool,
    /// Create orphans, as a child of this program
    #[arg(long, value_name = "COUNT", hide = true)]
    orphans: Option<u64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(count) = arguments.orphans {
        return reaping::orphans(count);
    }
    let kept = project().join("bench/run");
    let before = kept.join("results.json");
    let results = match &arguments.from {
        Some(file) => read(file)?,
        None => {
            ensure!(
                Uid::effective().is_root(),
                "run this as root: it creates cgroups and PID namespaces and starts engines"
            );
            match arguments.sizes {
                true => with_sizes(read(&before)?)?,
                false => measure(arguments.quick)?,
            }
        }
    };
    let folder = project().join("target/bench/run");
    write(&folder, &results)?;
    if arguments.keep {
        write(&kept, &results)?;
    }
    eprintln!("bench: {}", folder.join("report.md").display());
    Ok(())
}

fn read(file: &Path) -> Result<Results> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

/// Replaces the sizes of a run by those of today's files.
fn with_sizes(mut kept: Results) -> Result<Results> {
    let peers = Peer::all()?;
    for (peer, size) in peers.iter().zip(measure_sizes(&peers, false)?) {
        let figures = kept.figures.iter_mut().find(|it| it.peer.name == peer.name);
        let figures = figures.with_context(|| format!("the kept run lacks {}", peer.name))?;
        figures.peer = peer.clone();
        figures.size = size;
    }
    kept.sized = Some(Machine::this()?.date);
    Ok(kept)
}

/// Measures the sizes of all programs.
fn measure_sizes(peers: &[Peer], quick: bool) -> Result<Vec<BTreeMap<String, Size>>> {
    let docker = Docker::start();
    let sizes = peers.iter().map(|peer| {
        let sizes = size::measure(peer, &docker, quick);
        sizes.with_context(|| peer.name.clone())
    });
    sizes.collect()
}

/// Measures everything.
fn measure(quick: bool) -> Result<Results> {
    let begin = Instant::now();
    let say = |what: &str| eprintln!("{:>4} s  {what}", begin.elapsed().as_secs());
    let less = |full, few| if quick { few } else { full };
    let peers = Peer::all()?;

    say("size");
    let sizes = measure_sizes(&peers, quick)?;

    say("start and stop: all programs in turn");
    let starts = start::measure(&peers, less(400, 40), quick);

    let (processes, rounds) = (less(1000, 200), less(3, 1));
    let plan = reaping::Plan {
        alone: less(100_000, 5_000) as u64,
        busy: less(20_000, 1_000) as u64,
        counted: less(5_000, 1_000) as u64,
    };
    let figures = izip!(peers, sizes, starts).map(|(peer, size, start)| {
        say(&format!("memory, reaping: {}", peer.name));
        let measure = || {
            let memory = memory::measure(&peer, processes, rounds)?;
            anyhow::Ok((memory, reaping::measure(&peer, &plan)?))
        };
        let measured = peer.sits().then(measure).transpose();
        let (memory, reaping) = measured.with_context(|| peer.name.clone())?.unzip();
        Ok(Figures {
            peer,
            size,
            memory,
            start,
            reaping,
        })
    });
    let figures = figures.collect::<Result<_>>()?;
    let tried = peers::tried()?.into_iter().map(|peer| {
        say(&format!("memory: {}", peer.name));
        let memory = memory::measure(&peer, processes, rounds);
        Ok((peer.name.clone(), memory.with_context(|| peer.name)?))
    });
    let tried = tried.collect::<Result<_>>()?;

    say("full node: both images in turn");
    let nodes = node::measure(less(110, 20), less(5, 1))?;

    Ok(Results {
        machine: Machine::this()?,
        sized: None,
        quick,
        seconds: begin.elapsed().as_secs(),
        figures,
        tried,
        nodes,
    })
}

/// Writes the numbers, which took minutes to measure, and then the report and the plots.
fn write(folder: &Path, results: &Results) -> Result<()> {
    fs::create_dir_all(folder)?;
    let write = |name: &str, text: String| layout::write(&folder.join(name), text.as_bytes());
    let numbers = serde_json::to_string_pretty(results)? + "\n";
    write("results.json", numbers)?;
    write("report.md", report::report(results)?)?;
    let mut plots = plot::draw(results)?.into_iter();
    plots.try_for_each(|(name, svg)| write(name, svg))
}
