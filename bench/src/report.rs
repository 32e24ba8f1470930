//! A run, and the report of it.

use crate::{
    BASE,
    measure::{Reaping, Spread},
    node::Node,
    plot::Plot,
};
use engines::{printed, program::PLATFORMS};
use std::{collections::BTreeMap, process::Command};

/// The measurements of one program.
pub struct Figures {
    pub name: &'static str,
    /// Its version and how it was built.
    pub version: String,
    /// Bytes of its file on each platform.
    pub sizes: BTreeMap<&'static str, u64>,
    /// Bytes.
    pub memory: Spread,
    /// Microseconds from start to exit.
    pub start: Spread,
    pub reaping: Reaping,
}

/// A run.
pub struct Results {
    /// The day in UTC, and the machine.
    pub machine: String,
    pub quick: bool,
    /// Bytes that a pull of pause's image transfers on each platform.
    pub pulled: BTreeMap<&'static str, u64>,
    pub figures: Vec<Figures>,
    pub nodes: Vec<Node>,
}

/// Its bytes as Kubernetes' build/pause/Makefile builds it: cited, not measured here.
const UPSTREAM_BYTES: [(&str, u64); 2] = [("amd64", 690_920), ("arm64", 600_096)];
const UPSTREAM: &str = "upstream's pause 3.10 (cited)";

/// Today, and this machine as far as it matters for the numbers.
pub fn machine() -> String {
    let describe = r#"
        echo -n "$(date -u +%F) on $(nproc) × $(lscpu | sed -n 's/^Model name: *//p')"
        ! grep -q '^flags.* hypervisor' /proc/cpuinfo || echo -n ' (virtual)'
        awk '/MemTotal/ { printf ", %.0f GiB of memory, ", $2 / 1048576 }' /proc/meminfo
        . /etc/os-release
        [ -e /sys/fs/cgroup/cgroup.controllers ] && version=2 || version=1
        echo "$PRETTY_NAME, Linux $(uname -r | cut -d - -f 1), cgroup v$version""#;
    printed(Command::new("bash").args(["-c", describe]))
}

pub fn size_plot(results: &Results) -> Plot<'_> {
    let names: Vec<_> = platforms(results).collect();
    let bytes = |name| {
        let of = |platform: &&str| size(results, name, platform).map(|it| it as f64);
        (name, names.iter().map(of).collect())
    };
    Plot {
        title: "Size of the program on each platform",
        axis: "bytes, logarithmic",
        series: ["pause", UPSTREAM, "catatonit"].map(bytes).to_vec(),
        names,
        is_logarithmic: true,
        step: 100.0,
        print: |it| grouped(it as u64),
    }
}

pub fn memory_plot(results: &Results) -> Plot<'_> {
    let all = results.figures.iter();
    let charged = |it: &Figures| Some(it.memory.median / 1024.0);
    Plot {
        title: "Memory of one process",
        axis: "KiB charged to its cgroup",
        names: all.clone().map(|it| it.name).collect(),
        series: vec![("", all.map(charged).collect())],
        is_logarithmic: false,
        step: 50.0,
        print: |it| format!("{it:.0}"),
    }
}

/// The platforms of the run, in the image's order.
fn platforms(results: &Results) -> impl Iterator<Item = &'static str> {
    let names = PLATFORMS.iter().map(|it| it.name);
    names.filter(|it| results.pulled.contains_key(*it))
}

/// The bytes of a program on a platform.
fn size(results: &Results, name: &str, platform: &str) -> Option<u64> {
    let cited = UPSTREAM_BYTES.iter().find(|it| it.0 == platform);
    let found = results.figures.iter().find(|it| it.name == name);
    match name {
        UPSTREAM => Some(cited?.1),
        _ => found?.sizes.get(platform).copied(),
    }
}

/// The report, as Markdown.
pub fn report(results: &Results) -> String {
    let figures = || results.figures.iter();
    let sizes = platforms(results).map(|platform| {
        let programs = ["pause", UPSTREAM].into_iter();
        let programs = programs.chain(figures().skip(1).map(|it| it.name));
        let sizes = programs.map(|name| match size(results, name, platform) {
            Some(bytes) => format!(" | {}", grouped(bytes)),
            None => " | –".to_owned(),
        });
        let pulled = grouped(results.pulled[platform]);
        format!("{platform} | {pulled}{}", sizes.collect::<String>())
    });
    let base = figures().find(|it| it.name == BASE);
    let programs = figures().map(|it| {
        let ratio = |of: fn(&Figures) -> Spread| ratio(of(it), base.map(of));
        format!(
            "{} | {} | {} | {} | {:.2} | {:.2}",
            it.name,
            spread(it.memory, 1024.0),
            ratio(|it| it.memory),
            ratio(|it| it.start),
            it.reaping.cpu,
            it.reaping.wakeups,
        )
    });
    let base = results.nodes.iter().find(|it| it.name == BASE);
    let nodes = results.nodes.iter().map(|it| {
        format!(
            "{} | {} | {} | {} | {} | {} | {}",
            it.name,
            it.sandboxes,
            grouped(it.pulled),
            spread(it.memory, 1048576.0),
            ratio(it.memory, base.map(|it| it.memory)),
            spread(it.seconds, 1.0),
            ratio(it.seconds, base.map(|it| it.seconds)),
        )
    });
    format!(
        include_str!("../report.md"),
        machine = results.machine,
        quick = if results.quick {
            " This was a quick run, with few samples."
        } else {
            ""
        },
        sizes = rows(sizes),
        programs = rows(programs),
        nodes = rows(nodes),
        versions = rows(figures().map(|it| format!("{} | {}", it.name, it.version))),
    )
}

/// Rows of a table, from their cells.
fn rows(rows: impl Iterator<Item = String>) -> String {
    let rows: Vec<_> = rows.map(|row| format!("| {row} |")).collect();
    rows.join("\n")
}

/// The ratio of two medians.
fn ratio(value: Spread, base: Option<Spread>) -> String {
    let ratio = base.map(|base| format!("{:.2}", value.median / base.median));
    ratio.unwrap_or("–".to_owned())
}

/// A median and its quartiles, in that unit.
fn spread(it: Spread, unit: f64) -> String {
    let [low, median, high] = [it.low, it.median, it.high].map(|it| it / unit);
    format!("{median:.1} ({low:.1}–{high:.1})")
}

/// A number with commas: 690,920.
fn grouped(value: u64) -> String {
    match value / 1000 {
        0 => value.to_string(),
        thousands => format!("{},{:03}", grouped(thousands), value % 1000),
    }
}
