//! The report of a run.

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
use engines::program::PLATFORMS;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    Ok(template.render(context! {
        machine => results.machine.describe(),
        platforms => results.platforms(),
        glibc => results.of("C, glibc"),
        exit => results.of("floor: exit alone"),
        ..Value::from_serialize(results)
    })?)
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
