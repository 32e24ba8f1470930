//! The plots of a run.

use crate::report::{Figures, Results, grouped};
use anyhow::{Result, anyhow};
use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// Told apart in print and by whoever sees no red or no green (Okabe and Ito).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, X> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, RangedCoordf64>>;
type Failed = DrawingAreaErrorKind<std::io::Error>;

/// Part of a bar, or one of several: what it is called, its colour, and how much it is of each.
struct Series<'a> {
    name: &'a str,
    colour: RGBColor,
    values: Vec<Option<f64>>,
}

fn series(name: &str, colour: RGBColor, values: Vec<Option<f64>>) -> Series<'_> {
    Series {
        name,
        colour,
        values,
    }
}

/// A plot of bars that lie, one group for each name.
struct Bars<'a> {
    title: &'a str,
    axis: &'a str,
    names: Vec<String>,
    series: Vec<Series<'a>>,
    /// One behind the other, and not side by side.
    stacked: bool,
    /// Where a logarithmic axis begins; one that is not begins at 0.
    log: Option<f64>,
    tell: fn(f64) -> String,
}

/// Draws them all: each with its file's name, in SVG.
pub fn draw(results: &Results) -> Result<[(&'static str, String); 3]> {
    let all: Vec<&Figures> = results.figures.iter().collect();
    let names = |figures: &[&Figures]| figures.iter().map(|it| it.peer.name.clone()).collect();
    let platforms = results.platforms();
    let bytes =
        |of: fn(&(&str, u64, u64)) -> u64| platforms.iter().map(|it| Some(of(it) as f64)).collect();
    let size = Bars {
        title: "Size of the file on each platform",
        axis: "bytes, logarithmic",
        names: platforms
            .iter()
            .map(|(name, ..)| (*name).to_owned())
            .collect(),
        series: vec![
            series("pause", BLUE, bytes(|it| it.1)),
            series("catatonit, static", ORANGE, bytes(|it| it.2)),
        ],
        stacked: false,
        log: Some(100.0),
        tell: |value| grouped(value as u64),
    }
    .draw()?;

    let sitting: Vec<&Figures> = all
        .iter()
        .copied()
        .filter(|it| it.memory.is_some())
        .collect();
    let memory = |of: fn(&crate::memory::Memory) -> f64| {
        sitting
            .iter()
            .map(|it| it.memory.as_ref().map(|it| of(it) / 1024.0))
            .collect()
    };
    let memory = Bars {
        title: "Memory of one process",
        axis: "KiB charged to its cgroup",
        names: names(&sitting),
        series: vec![
            series(
                "pages of its own",
                ORANGE,
                memory(|it| it.charged.median - it.kernel),
            ),
            series("page tables", GREEN, memory(|it| it.page_tables)),
            series(
                "other kernel memory",
                BLUE,
                memory(|it| it.kernel - it.page_tables),
            ),
        ],
        stacked: true,
        log: None,
        tell: |value| format!("{value:.0}"),
    }
    .draw()?;

    let reapers: Vec<&Figures> = all.iter().copied().filter(|it| it.peer.reaps).collect();
    let ran = |at: usize| {
        reapers
            .iter()
            .map(|it| it.reaping.as_ref().map(|it| it[at].ran))
            .collect()
    };
    let reaping = Bars {
        title: "Reaping: the first process on a processor",
        axis: "µs per orphan",
        names: names(&reapers),
        series: vec![
            series("nothing else runs", BLUE, ran(0)),
            series("processors are busy", ORANGE, ran(1)),
        ],
        stacked: false,
        log: None,
        tell: |value| format!("{value:.2}"),
    }
    .draw()?;
    Ok([
        ("size.svg", size),
        ("memory.svg", memory),
        ("reaping.svg", reaping),
    ])
}

const WIDTH: u32 = 820;
/// Where names end and bars begin.
const LEFT: u32 = 200;
const BAR: f64 = 15.0;
const GAP: f64 = 11.0;
const FONT: &str = "sans-serif";

impl Bars<'_> {
    fn draw(&self) -> Result<String> {
        let mut svg = String::new();
        self.draw_into(&mut svg)
            .map_err(|error| anyhow!("{}: {error}", self.title))?;
        Ok(svg)
    }

    fn draw_into(&self, svg: &mut String) -> Result<(), Failed> {
        let in_group = if self.stacked { 1 } else { self.series.len() };
        let group = GAP + BAR * in_group as f64;
        let rows = group * self.names.len() as f64;
        let size = (WIDTH, 64 + rows as u32 + 48);
        let area = SVGBackend::with_string(svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        self.draw_title(&area)?;
        let sums = (0..self.names.len()).map(|at| {
            let values = self.series.iter().filter_map(|series| series.values[at]);
            match self.stacked {
                true => values.sum(),
                false => values.fold(0.0, f64::max),
            }
        });
        let most = sums.fold(0.0, f64::max);
        // Room for the number behind the longest.
        match self.log {
            Some(low) => self.draw_chart(&area, (low..most * 5.0).log_scale(), group)?,
            None => self.draw_chart(&area, 0.0..most * 1.1, group)?,
        }
        area.present()
    }

    fn draw_chart<S, X>(&self, area: &Area, scale: S, group: f64) -> Result<(), Failed>
    where
        S: AsRangedCoord<CoordDescType = X, Value = f64>,
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        // The first name on top.
        let down = group * self.names.len() as f64..0.0;
        let mut chart = ChartBuilder::on(area)
            .margin_top(64)
            .margin_right(16)
            .x_label_area_size(44)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(scale, down)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_desc(self.axis)
            .x_label_formatter(&|value: &f64| grouped(*value as u64))
            .x_label_style(TextStyle::from((FONT, 13)).color(&BLACK))
            .light_line_style(TRANSPARENT)
            .draw()?;
        self.draw_bars(area, &chart, group)
    }

    /// The title, and the colours' names below it.
    fn draw_title(&self, area: &Area) -> Result<(), Failed> {
        let black = |size| TextStyle::from((FONT, size)).color(&BLACK);
        let left = LEFT as i32;
        area.draw(&Text::new(self.title, (left, 10), black(18)))?;
        let mut at = left;
        for series in &self.series {
            area.draw(&Rectangle::new(
                [(at, 38), (at + 12, 50)],
                series.colour.filled(),
            ))?;
            area.draw(&Text::new(series.name, (at + 18, 37), black(14)))?;
            at += 42 + 8 * series.name.len() as i32;
        }
        Ok(())
    }

    fn draw_bars<X>(&self, whole: &Area, chart: &Chart<X>, group: f64) -> Result<(), Failed>
    where
        X: Ranged<ValueType = f64>,
    {
        // Names and numbers go past the bars' own area, which would cut them off.
        let area = chart.plotting_area();
        let start = area.get_x_range().start;
        let text = |size| TextStyle::from((FONT, size)).color(&BLACK);
        let beside = |horizontal| text(14).pos(Pos::new(horizontal, VPos::Center));
        let tell = |value: f64, top: f64| {
            let (x, y) = area.map_coordinate(&(value, top + BAR / 2.0));
            let told = Text::new((self.tell)(value), (x + 6, y), beside(HPos::Left));
            whole.draw(&told)
        };
        for (at, name) in self.names.iter().enumerate() {
            let mut top = at as f64 * group + GAP / 2.0;
            let (x, y) = area.map_coordinate(&(start, at as f64 * group + group / 2.0));
            let weight = if name == "pause" {
                FontStyle::Bold
            } else {
                FontStyle::Normal
            };
            let style = TextStyle::from((FONT, 14, weight));
            let style = style.pos(Pos::new(HPos::Right, VPos::Center));
            whole.draw(&Text::new(name.clone(), (x - 8, y), style))?;
            let mut from = start;
            for series in &self.series {
                let Some(value) = series.values[at] else {
                    continue;
                };
                let to = if self.stacked && from > start {
                    from + value
                } else {
                    value
                };
                area.draw(&Rectangle::new(
                    [(from, top), (to, top + BAR)],
                    series.colour.filled(),
                ))?;
                if self.stacked {
                    from = to;
                    continue;
                }
                tell(to, top)?;
                top += BAR;
            }
            if self.stacked {
                tell(from, top)?;
            }
        }
        Ok(())
    }
}
