//! The plots of a run: horizontal bars, a group of them for each platform or program.

use crate::report::{Results, grouped};
use anyhow::Result;
use plotters::prelude::*;

/// Easy to tell apart in print and for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(230, 159, 0)];

const FONT: &str = "sans-serif";

/// Pixels of a row, and of the title and the axis.
const ROW: u32 = 41;
const FRAME: u32 = 96;

/// Part of a row that its bars fill.
const BARS: f64 = 0.72;

struct Plot<'a> {
    title: &'a str,
    axis: &'a str,
    names: Vec<&'a str>,
    /// What a colour stands for, and its value for each name.
    series: Vec<(&'a str, Vec<f64>)>,
    /// Where the axis starts if it is logarithmic. Another starts at 0.
    logarithmic: Option<f64>,
    tell: fn(f64) -> String,
}

/// Draws the plots as SVG, each with the name of its file.
///
/// # Errors
///
/// Those of plotters.
pub fn draw(results: &Results) -> Result<[(&'static str, String); 3]> {
    let platforms = results.platforms();
    let size = Plot {
        title: "Size of the file on each platform",
        axis: "bytes, logarithmic",
        names: platforms.iter().map(|it| it.0).collect(),
        series: vec![
            ("pause", platforms.iter().map(|it| it.1 as f64).collect()),
            (
                "catatonit, static",
                platforms.iter().map(|it| it.2 as f64).collect(),
            ),
        ],
        logarithmic: Some(100.0),
        tell: |value| grouped(value as u64),
    };
    let memory = results.figures.iter().filter_map(|it| {
        let charged = it.memory.as_ref()?.charged.median / 1024.0;
        Some((&*it.peer.name, charged))
    });
    let (names, charged) = memory.unzip();
    let memory = Plot {
        title: "Memory of one process",
        axis: "KiB charged to its cgroup",
        names,
        series: vec![("", charged)],
        logarithmic: None,
        tell: |value| format!("{value:.0}"),
    };
    let reapers = results.figures.iter().filter(|it| it.peer.reaps);
    let reaping = reapers.filter_map(|it| Some((&*it.peer.name, it.reaping.as_ref()?)));
    let (names, reaping): (_, Vec<_>) = reaping.unzip();
    let ran = |busy: usize| reaping.iter().map(|it| it[busy].ran).collect();
    let reaping = Plot {
        title: "CPU time of PID 1 for each orphan",
        axis: "µs per orphan",
        names,
        series: vec![
            ("on an idle machine", ran(0)),
            ("on a busy machine", ran(1)),
        ],
        logarithmic: None,
        tell: |value| format!("{value:.2}"),
    };
    Ok([
        ("size.svg", size.draw()?),
        ("memory.svg", memory.draw()?),
        ("reaping.svg", reaping.draw()?),
    ])
}

impl Plot<'_> {
    fn draw(&self) -> Result<String> {
        // A logarithmic axis is a linear one of logarithms.
        let (start, place): (f64, fn(f64) -> f64) = match self.logarithmic {
            Some(start) => (start.log10(), f64::log10),
            None => (0.0, |value| value),
        };
        let tick = |place: &f64| match self.logarithmic {
            Some(_) => (self.tell)(10_f64.powf(*place).round()),
            None => (self.tell)(*place),
        };
        let values = self.series.iter().flat_map(|it| &it.1);
        let most = values.map(|it| place(*it)).fold(start, f64::max);
        // Leaves room for the number behind the longest bar.
        let axis = start..most + (most - start) * 0.15;
        // From the bottom up, so that the first row is on top; the legend has a row of its own above.
        let has_legend = self.series.len() > 1;
        let first = if has_legend { -1.7 } else { -0.5 };
        let rows = self.names.len() as f64 - 0.5..first;
        let height = FRAME + (f64::from(ROW) * (rows.start - rows.end)) as u32;

        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (820, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, (FONT, 18))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(190)
            .build_cartesian_2d(axis, rows)?;
        let name = |row: &f64| {
            let is_whole = row.fract() == 0.0 && *row >= 0.0;
            let name = self.names.get(*row as usize).filter(|_| is_whole);
            name.map_or(String::new(), |it| (*it).to_owned())
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 14))
            .x_desc(self.axis)
            .x_labels(6)
            .x_label_formatter(&tick)
            .y_labels(2 * self.names.len())
            .y_label_formatter(&name)
            .draw()?;
        let bar = BARS / self.series.len() as f64;
        for (index, ((name, values), colour)) in self.series.iter().zip(COLOURS).enumerate() {
            let top = |row: usize| row as f64 - BARS / 2.0 + bar * index as f64;
            let bars = || (0..).map(top).zip(values);
            let rectangle = |(top, value): (f64, &f64)| {
                Rectangle::new([(start, top), (place(*value), top + bar)], colour.filled())
            };
            let number = |(top, value): (f64, &f64)| {
                EmptyElement::at((place(*value), top + bar / 2.0))
                    + Text::new((self.tell)(*value), (6, -7), (FONT, 14))
            };
            let key = move |(x, y)| Rectangle::new([(x, y - 6), (x + 12, y + 6)], colour.filled());
            let series = chart.draw_series(bars().map(rectangle))?;
            series.label(*name).legend(key);
            chart.draw_series(bars().map(number))?;
        }
        if has_legend {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .legend_area_size(18)
                .label_font((FONT, 14))
                .draw()?;
        }
        area.present()?;
        drop((chart, area));
        Ok(svg)
    }
}
