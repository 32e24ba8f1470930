//! The tables of a run.

use crate::{
    machine::Machine,
    measure::Spread,
    memory::Memory,
    node::Node,
    peers::{EVERYWHERE, Peer},
    reaping::Reaping,
    size::Size,
    start::Start,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write};
use tests::program::PLATFORMS;

/// What was measured of one program.
#[derive(Clone, Serialize, Deserialize)]
pub struct Figures {
    pub peer: Peer,
    pub size: BTreeMap<String, Size>,
    pub memory: Option<Memory>,
    pub start: Start,
    /// Alone, and on a busy machine.
    pub reaping: Option<[Reaping; 2]>,
}

/// A run.
#[derive(Clone, Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    /// The date of its sizes, where they were measured later than all else.
    #[serde(default)]
    pub sized: Option<String>,
    pub quick: bool,
    pub seconds: u64,
    pub figures: Vec<Figures>,
    /// Memory of sleeps that save it in other ways.
    pub tried: Vec<(String, Memory)>,
    /// A node of each image: pause's, and that of C with glibc.
    pub nodes: Vec<Node>,
}

impl Results {
    /// The figures of one program.
    pub fn of(&self, name: &str) -> Option<&Figures> {
        self.figures
            .iter()
            .find(|figures| figures.peer.name == name)
    }

    /// When and on what, for the tables.
    fn describe(&self) -> String {
        let machine = self.machine.describe();
        let sized = self.sized.as_ref();
        let sized = sized.map(|date| format!(" Sizes: {date}."));
        format!("{machine}.{}", sized.unwrap_or_default())
    }

    /// Each platform with the bytes of pause's file and of catatonit's there, as far as the run has
    /// them, in the image's order.
    pub fn platforms(&self) -> Vec<(&'static str, u64, u64)> {
        let bytes = |figures: &Figures, platform| Some(figures.size.get(platform)?.file);
        let row = |platform| {
            let peer = self.of(EVERYWHERE)?;
            Some((
                platform,
                bytes(&self.figures[0], platform)?,
                bytes(peer, platform)?,
            ))
        };
        PLATFORMS.iter().filter_map(|it| row(it.name)).collect()
    }

    /// What pause is held against, as ratios and counts that a machine's speed does not change.
    fn headlines(&self) -> Vec<(String, f64)> {
        let ours = &self.figures[0];
        let charged = |figures: &Figures| figures.memory.as_ref().map(|it| it.charged.median);
        let executed = |figures: &Figures| figures.memory.as_ref().map(|it| it.executed.median);
        let told = |figures: &Figures| figures.start.told.map(|it| it.median);
        let ran = |figures: &Figures| figures.reaping.as_ref().map(|it| it[0].ran);
        let ratio = |name, of: fn(&Figures) -> Option<f64>| Some(of(ours)? / of(self.of(name)?)?);
        let node = |of: fn(&Node) -> f64| Some(of(self.nodes.first()?) / of(self.nodes.get(1)?));
        let rows = [
            ("memory, of C with glibc", ratio(GLIBC, charged)),
            (
                "memory since its execve, of C with glibc",
                ratio(GLIBC, executed),
            ),
            (
                "memory, of a sleep alone",
                ratio("floor: sleep alone", charged),
            ),
            (
                "start to end, of an exit alone",
                ratio("floor: exit alone", told),
            ),
            ("start to end, of C with glibc", ratio(GLIBC, told)),
            (
                "start to sleep, of a sleep alone",
                ratio("floor: sleep alone", |it| {
                    it.start.asleep.map(|it| it.median)
                }),
            ),
            (
                "sleeps per orphan",
                ours.reaping.as_ref().map(|it| it[0].sleeps),
            ),
            (
                "time on a processor per orphan, of C with glibc",
                ratio(GLIBC, ran),
            ),
            (
                "SIGTERM to end, of C with glibc",
                ratio(GLIBC, |it| it.start.stopped.map(|it| it.median)),
            ),
            (
                "a node full of pods: memory, of C with glibc",
                node(|it| it.charged.median),
            ),
            (
                "a node full of pods: making them, of C with glibc",
                node(|it| it.made.median),
            ),
            (
                "a node full of pods: removing them, of C with glibc",
                node(|it| it.removed.median),
            ),
        ];
        let sizes = self.platforms().into_iter();
        let sizes = sizes.map(|(platform, ours, _)| (format!("bytes, {platform}"), ours as f64));
        let rows = rows.into_iter();
        let rows = rows.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        sizes.chain(rows).collect()
    }
}

const GLIBC: &str = "C, glibc";

/// How a run differs from the one that is kept.
pub fn compare(run: &Results, kept: &Results) -> String {
    let mut text = format!(
        "kept run: {}\nthis run: {}\n\n{:<50} {:>9} {:>9} {:>8}\n",
        kept.machine.describe(),
        run.machine.describe(),
        "pause",
        "kept",
        "this",
        "",
    );
    let kept = kept.headlines();
    for (name, value) in run.headlines() {
        let before = kept
            .iter()
            .find(|(it, _)| *it == name)
            .map(|(_, value)| *value);
        let change = match before {
            Some(before) if before != 0.0 => format!("{:+.1} %", (value / before - 1.0) * 100.0),
            _ => String::new(),
        };
        let before = before.map_or("-".to_owned(), number);
        _ = writeln!(
            text,
            "{name:<50} {before:>9} {:>9} {change:>8}",
            number(value)
        );
    }
    text
}

/// As few digits as tell it.
fn number(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 => grouped(value as u64),
        value if value >= 1000.0 => grouped(value.round() as u64),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.01 => format!("{value:.2}"),
        value => format!("{value:.5}"),
    }
}

/// 690,920
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn kibibytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1024.0)
}

/// A table of Markdown, whose first column is names.
fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!(
        "| {} |\n|---|{}\n",
        columns.join(" | "),
        "--:|".repeat(columns.len() - 1)
    );
    for row in rows {
        _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn or_dash<T>(value: Option<T>, tell: impl Fn(T) -> String) -> String {
    value.map_or("–".to_owned(), tell)
}

fn spread(value: Option<Spread>) -> String {
    or_dash(value, |it| {
        format!(
            "{} ({}–{})",
            number(it.median),
            number(it.low),
            number(it.high)
        )
    })
}

/// What the peers of the tables are, and how memory is measured.
const LEGEND: &str = "\
\"C\" is a program with upstream's behaviour and build line ([pause.c](../peers/pause.c)). The floors are \
written by hand ([peers](../peers)); the first does all that pause does. catatonit is Debian 12's \
package, and testing's for riscv64, which Debian 12 lacks.\n\n\
Memory is all that a memory cgroup is charged for, divided by the number of processes in it. 28 KiB of it \
are a kernel stack and what else any process has from its fork.\n\n\
\"Start + exit\" is the time from start to end, relative to a program that only exits.\n";

/// The tables that the report begins with: pause on each platform, and beside all its peers.
fn summary(results: &Results) -> String {
    let platforms = results.platforms().into_iter();
    let platforms = platforms.map(|(platform, ours, peer)| {
        vec![
            platform.to_owned(),
            grouped(ours),
            grouped(peer),
            grouped((peer as f64 / ours as f64).round() as u64),
        ]
    });
    let columns = [
        "platform",
        "pause, bytes",
        "catatonit, bytes",
        "times pause",
    ];
    let platforms = table(&columns, platforms);
    format!("{platforms}\n{}", beside_peers(results))
}

fn beside_peers(results: &Results) -> String {
    let base = |of: fn(&Figures) -> Option<f64>, name| results.of(name).and_then(of);
    let memory: fn(&Figures) -> Option<f64> = |it| Some(it.memory.as_ref()?.charged.median);
    let told: fn(&Figures) -> Option<f64> = |it| Some(it.start.told?.median);
    let of = |value: Option<f64>, base: Option<f64>| {
        or_dash(value.zip(base), |(value, base)| {
            format!("{:.2}", value / base)
        })
    };
    let (glibc, exit) = (base(memory, GLIBC), base(told, "floor: exit alone"));
    table(
        &[
            "",
            "bytes, amd64",
            "arm64",
            "memory, KiB",
            "relative to C, glibc",
            "start + exit, relative to an exit",
            "µs on a processor per orphan",
            "wake-ups per orphan",
        ],
        results.figures.iter().map(|it| {
            let reaping = it.reaping.as_ref().map(|it| &it[0]);
            let of_reaping = |value: fn(&Reaping) -> f64| match reaping {
                Some(_) if !it.peer.reaps => "never reaped".to_owned(),
                _ => or_dash(reaping.map(value), |it| format!("{it:.2}")),
            };
            vec![
                it.peer.name.clone(),
                grouped(it.size["amd64"].file),
                grouped(it.size["arm64"].file),
                or_dash(memory(it), kibibytes),
                of(memory(it), glibc),
                of(told(it), exit),
                of_reaping(|it| it.ran),
                of_reaping(|it| it.sleeps),
            ]
        }),
    )
}

/// All tables.
pub fn report(results: &Results) -> String {
    let figures = || results.figures.iter();
    let mut text = format!(
        "# pause beside its peers\n\n{} {}The run took {} s.\n\n{}\n{LEGEND}\n",
        results.describe(),
        if results.quick {
            "A quick run, of few samples. "
        } else {
            ""
        },
        results.seconds,
        summary(results),
    );

    let sizes = figures().flat_map(|it| {
        it.size.iter().map(|(platform, size)| {
            let rest = size.file - size.headers - size.code;
            let image = size.image.as_ref();
            vec![
                it.peer.name.clone(),
                platform.clone(),
                grouped(size.file),
                grouped(size.headers),
                grouped(size.code),
                grouped(rest),
                grouped(size.gzip),
                or_dash(image, |it| grouped(it.layer)),
                or_dash(image, |it| grouped(it.pulled)),
                or_dash(image.and_then(|it| it.docker), grouped),
            ]
        })
    });
    let columns = [
        "",
        "platform",
        "file",
        "ELF headers",
        "code",
        "the rest",
        "gzip -9",
        "layer",
        "pulled",
        "`docker images`",
    ];
    section(
        &mut text,
        "Size",
        "Bytes. Layer and pulled: as an image that is packed as pause's is, its manifest and configuration included. Programs that are linked dynamically need a libc beside them, and are no image of one file. Both backends of pause make files of the same sizes.",
        &table(&columns, sizes),
    );

    let memories = figures().filter_map(|it| Some((&it.peer.name, it.memory.as_ref()?)));
    let tried = results.tried.iter().map(|(name, memory)| (name, memory));
    let with_quarters = |it: Spread| {
        let [low, median, high] = [it.low, it.median, it.high].map(kibibytes);
        format!("{median} ({low}–{high})")
    };
    let memory_row = |(name, memory): (&String, &Memory)| {
        let charged = memory.charged.median;
        let pods = |count: f64| format!("{:.1}", charged * count / f64::from(1 << 20));
        vec![
            name.clone(),
            with_quarters(memory.charged),
            kibibytes(charged - memory.kernel),
            kibibytes(memory.page_tables),
            kibibytes(memory.kernel - memory.page_tables),
            with_quarters(memory.executed),
            kibibytes(memory.resident),
            kibibytes(memory.share),
            number(memory.faults),
            pods(110.0),
            pods(1000.0),
        ]
    };
    let columns = [
        "",
        "charged",
        "pages of its own",
        "page tables",
        "other kernel memory",
        "since its execve",
        "RSS",
        "PSS",
        "page faults",
        "110 pods, MiB",
        "1,000 pods, MiB",
    ];
    section(
        &mut text,
        "Memory",
        "KiB per process, of many in a memory cgroup of their own: the median of rounds and the \
         quarters beside it. Page tables are VmPTE. What is charged since its execve is what the \
         program itself brings: any process has a kernel stack and more from its fork. RSS has pages \
         of the file, which all processes share and the first one's cgroup is charged for.",
        &table(&columns, memories.map(memory_row)),
    );
    section(
        &mut text,
        "Memory that could be saved",
        "The same, of programs that do nothing but sleep (x86_64) after they gave pages of their \
         stack back, after they unmapped it, and after they moved to where the stack's page table reaches. \
         To compare with the sleep alone.",
        &table(&columns, tried.map(memory_row)),
    );

    let starts = figures().map(|it| {
        let start = &it.start;
        vec![
            it.peer.name.clone(),
            spread(start.asleep),
            or_dash(start.ran, number),
            or_dash(start.faults, number),
            or_dash(start.instructions, grouped),
            spread(start.told),
            or_dash(start.told_instructions, grouped),
            spread(start.stopped),
        ]
    });
    let columns = [
        "",
        "start to sleep",
        "of it on a processor",
        "page faults",
        "instructions",
        "start to end, for `-v`",
        "instructions",
        "SIGTERM to end",
    ];
    section(
        &mut text,
        "Start and stop",
        "Microseconds, all in turn: medians, and the quarters beside them. Instructions are the program's own, counted by single steps.",
        &table(&columns, starts),
    );

    for (at, title) in ["Reaping", "Reaping on a busy machine"]
        .into_iter()
        .enumerate()
    {
        let rows = figures().filter_map(|it| {
            let reaping = &it.reaping.as_ref()?[at];
            Some(vec![
                it.peer.name.clone(),
                grouped(reaping.orphans),
                format!("{:.3}", reaping.ran),
                format!("{:.3}", reaping.sleeps),
                format!("{:.3}", reaping.preempted),
                number(reaping.wall),
                grouped(reaping.zombies),
            ])
        });
        let columns = [
            "",
            "orphans",
            "µs on a processor",
            "sleeps",
            "preempted",
            "µs in all",
            "zombies at most",
        ];
        let how = [
            "As the first process of a PID namespace, per orphan.",
            "The same, while each processor has something else to do as well.",
        ][at];
        section(&mut text, title, how, &table(&columns, rows));
    }

    let nodes = results.nodes.iter().map(|node| {
        let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
        let Spread { low, median, high } = node.charged;
        let [low, median, high] = [low, median, high].map(mebibytes);
        vec![
            node.image.clone(),
            grouped(node.pods as u64),
            grouped(node.pulled),
            spread(Some(Spread { low, median, high })),
            spread(Some(node.made)),
            spread(Some(node.removed)),
        ]
    });
    let columns = [
        "image",
        "pods",
        "bytes pulled",
        "MiB charged to their sandboxes",
        "seconds to make them",
        "seconds to remove them",
    ];
    section(
        &mut text,
        "A node full of pods",
        "Sandboxes by containerd's CRI, one after the other, on the node's own network, with each image in \
         turn: medians of rounds, and the quarters beside them. 110 pods are what a kubelet allows unless \
         it is told otherwise. The runtime's shim, a process beside each sandbox, is the same for all \
         images, and not in it.",
        &table(&columns, nodes),
    );

    let built = figures().map(|it| {
        vec![
            it.peer.name.clone(),
            it.peer.version.clone(),
            it.peer.how.clone(),
        ]
    });
    section(
        &mut text,
        "How each was built",
        "",
        &table(&["", "version", "how"], built),
    );
    text
}

fn section(text: &mut String, title: &str, how: &str, table: &str) {
    _ = write!(text, "## {title}\n\n{how}\n\n{table}\n");
}
