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
use clap::{Parser, Subcommand};
use itertools::izip;
use machine::Machine;
use nix::unistd::Uid;
use pause_image::layout;
use peers::Peer;
use report::{Figures, Results};
use size::Size;
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread,
    time::Instant,
};
use tests::{engine::Docker, project};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Take fewer samples: one minute instead of five
    #[arg(long)]
    quick: bool,
    /// Keep the numbers, the report and the plot in benches/run
    #[arg(long, conflicts_with = "quick")]
    keep: bool,
    /// Read the numbers from an earlier run's results.json instead of measuring
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    from: Option<PathBuf>,
    /// Measure only sizes, which do not depend on load, and take the rest from the kept run
    #[arg(long, conflicts_with_all = ["quick", "from"])]
    sizes: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program does as a child of itself.
#[derive(Subcommand)]
enum Part {
    /// Hold as many processes as standard input says
    Hold {
        /// The cgroup.procs file of the cgroup that they join before execve
        #[arg(long)]
        door: Option<PathBuf>,
        #[arg(last = true, value_parser = |word: &str| CString::new(word))]
        words: Vec<CString>,
    },
    /// Create orphans
    Orphans { count: u64 },
    /// Keep a CPU busy
    Spin,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.part {
        None => run(&arguments),
        Some(Part::Hold { door, words }) => memory::hold(words, door.as_deref()),
        Some(Part::Orphans { count }) => reaping::orphans(*count),
        Some(Part::Spin) => loop {
            std::hint::spin_loop();
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let kept = project().join("benches/run");
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
    if before.exists() {
        println!("{}", report::compare(&results, &read(&before)?));
    }
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

/// Measures the sizes of all programs in parallel.
fn measure_sizes(peers: &[Peer], quick: bool) -> Result<Vec<BTreeMap<String, Size>>> {
    let docker = Mutex::new(Docker::start());
    let measure =
        |peer: &Peer| size::measure(peer, &docker, quick).with_context(|| peer.name.clone());
    let measure = &measure;
    thread::scope(|scope| {
        let started: Vec<_> = peers
            .iter()
            .map(|peer| scope.spawn(move || measure(peer)))
            .collect();
        let sizes = started.into_iter().map(|size| size.join().unwrap());
        sizes.collect()
    })
}

/// Measures everything.
fn measure(quick: bool) -> Result<Results> {
    let begin = Instant::now();
    let say = |what: &str| eprintln!("{:>4} s  {what}", begin.elapsed().as_secs());
    let less = |full, few| if quick { few } else { full };
    let peers = Peer::all()?;

    say("size: all programs in parallel");
    let sizes = measure_sizes(&peers, quick)?;

    let plan = memory::Plan {
        processes: less(1000, 200),
        rounds: less(3, 1),
    };
    let measure_memory = |peer: &Peer| {
        say(&format!("memory: {}", peer.name));
        memory::measure(peer, &plan)
    };
    let memories = for_each_sitting(&peers, measure_memory)?;
    let tried = peers::tried().into_iter().map(|peer| {
        let memory = measure_memory(&peer).with_context(|| peer.name.clone())?;
        Ok((peer.name, memory))
    });
    let tried = tried.collect::<Result<_>>()?;

    say("start and stop: all programs in turn");
    let starts = start::measure(&peers, less(400, 40), quick);

    let plan = reaping::Plan {
        alone: less(100_000, 5_000) as u64,
        busy: less(20_000, 1_000) as u64,
        counted: less(5_000, 1_000) as u64,
    };
    let reapings = for_each_sitting(&peers, |peer| {
        say(&format!("reaping: {}", peer.name));
        reaping::measure(peer, &plan)
    })?;

    say("full node: both images in turn");
    let nodes = node::measure(less(110, 20), less(5, 1))?;

    let figures = izip!(peers, sizes, memories, starts, reapings);
    let figures = figures.map(|(peer, size, memory, start, reaping)| Figures {
        peer,
        size,
        memory,
        start,
        reaping,
    });
    Ok(Results {
        machine: Machine::this()?,
        sized: None,
        quick,
        seconds: begin.elapsed().as_secs(),
        figures: figures.collect(),
        tried,
        nodes,
    })
}

/// Measures the programs that sleep until a signal. The others get nothing.
fn for_each_sitting<T>(
    peers: &[Peer],
    measure: impl Fn(&Peer) -> Result<T>,
) -> Result<Vec<Option<T>>> {
    let measured = peers.iter().map(|peer| {
        let sitting = peer.sits().then(|| measure(peer));
        sitting.transpose().with_context(|| peer.name.clone())
    });
    measured.collect()
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
