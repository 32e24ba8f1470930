//! The report of a run, and how a run differs from the kept one.

use crate::{
    machine::Machine,
    memory::Memory,
    node::Node,
    peers::{EVERYWHERE, Peer},
    reaping::Reaping,
    size::Size,
    start::Start,
};
use anyhow::Result;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write};
use tests::program::PLATFORMS;

/// The measurements of one program.
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
    /// The date of the sizes, if they are newer than the rest.
    #[serde(default)]
    pub sized: Option<String>,
    pub quick: bool,
    pub seconds: u64,
    pub figures: Vec<Figures>,
    /// Memory of sleeps that save some of it in other ways.
    pub tried: Vec<(String, Memory)>,
    /// A full node for each image: pause, and C with glibc.
    pub nodes: Vec<Node>,
}

/// The ratios and counts that [`compare`] shows, as expressions over [`Results::context`]. A faster
/// machine does not change them.
#[rustfmt::skip]
const HEADLINES: [(&str, &str); 12] = [
    ("memory / C, glibc", "pause.memory.charged.median / glibc.memory.charged.median"),
    ("memory since execve / C, glibc", "pause.memory.executed.median / glibc.memory.executed.median"),
    ("memory / bare sleep", "pause.memory.charged.median / sleep.memory.charged.median"),
    ("start + exit / bare exit", "pause.start.told.median / exit.start.told.median"),
    ("start + exit / C, glibc", "pause.start.told.median / glibc.start.told.median"),
    ("start to sleep / bare sleep", "pause.start.asleep.median / sleep.start.asleep.median"),
    ("sleeps per orphan", "pause.reaping[0].sleeps"),
    ("CPU time per orphan / C, glibc", "pause.reaping[0].ran / glibc.reaping[0].ran"),
    ("SIGTERM to exit / C, glibc", "pause.start.stopped.median / glibc.start.stopped.median"),
    ("full node: memory / C, glibc", "nodes[0].charged.median / nodes[1].charged.median"),
    ("full node: time to create / C, glibc", "nodes[0].made.median / nodes[1].made.median"),
    ("full node: time to remove / C, glibc", "nodes[0].removed.median / nodes[1].removed.median"),
];

impl Results {
    /// The figures of one program.
    pub fn of(&self, name: &str) -> Option<&Figures> {
        self.figures.iter().find(|it| it.peer.name == name)
    }

    /// Each platform that the run has, in the image's order, with the bytes of pause and of catatonit.
    pub fn platforms(&self) -> Vec<(&'static str, u64, u64)> {
        let bytes = |peer, platform| Some(self.of(peer)?.size.get(platform)?.file);
        let names = PLATFORMS.iter().map(|platform| platform.name);
        names
            .filter_map(|it| Some((it, bytes("pause", it)?, bytes(EVERYWHERE, it)?)))
            .collect()
    }

    /// What the template and [`HEADLINES`] can name.
    fn context(&self) -> Value {
        context! {
            machine => self.machine.describe(),
            platforms => self.platforms(),
            pause => self.of("pause"),
            glibc => self.of("C, glibc"),
            sleep => self.of("floor: sleep alone"),
            exit => self.of("floor: exit alone"),
            ..Value::from_serialize(self)
        }
    }

    /// The headlines that the run has numbers for.
    fn headlines(&self) -> Vec<(String, f64)> {
        let (environment, context) = (Environment::new(), self.context());
        let value = |expression| {
            let expression = environment.compile_expression(expression).unwrap();
            f64::try_from(expression.eval(&context).ok()?).ok()
        };
        let sizes = self.platforms().into_iter();
        let sizes = sizes.map(|(platform, ours, _)| (format!("bytes, {platform}"), ours as f64));
        let ratios = HEADLINES.iter();
        let ratios = ratios.filter_map(|(name, it)| Some(((*name).to_owned(), value(it)?)));
        sizes.chain(ratios).collect()
    }
}

/// The report, from the template beside `src`.
///
/// # Errors
///
/// The run lacks a program that the template names.
pub fn report(results: &Results) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("number", |value: Option<f64>| {
        value.map_or("–".to_owned(), number)
    });
    environment.add_filter("fixed", |value: f64, digits: usize| {
        format!("{value:.digits$}")
    });
    let template = environment.template_from_str(include_str!("../report.md.jinja"))?;
    Ok(template.render(results.context())?)
}

/// The headlines of a run beside those of the kept one.
pub fn compare(run: &Results, kept: &Results) -> String {
    let mut text = format!(
        "kept run: {}\nthis run: {}\n\n{:<40} {:>9} {:>9} {:>8}\n",
        kept.machine.describe(),
        run.machine.describe(),
        "pause",
        "kept",
        "this",
        "",
    );
    let kept: BTreeMap<_, _> = kept.headlines().into_iter().collect();
    for (name, value) in run.headlines() {
        let before = kept.get(&name).copied();
        let change = match before {
            Some(before) if before != 0.0 => format!("{:+.1} %", (value / before - 1.0) * 100.0),
            _ => String::new(),
        };
        let before = before.map_or("-".to_owned(), number);
        let value = number(value);
        _ = writeln!(text, "{name:<40} {before:>9} {value:>9} {change:>8}");
    }
    text
}

/// About three digits, but all digits of a whole number.
fn number(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 || value >= 1000.0 => grouped(value.round() as u64),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.01 => format!("{value:.2}"),
        value => format!("{value:.5}"),
    }
}

/// A number with commas: 690,920.
pub fn grouped(value: u64) -> String {
    match value / 1000 {
        0 => value.to_string(),
        thousands => format!("{},{:03}", grouped(thousands), value % 1000),
    }
}
