//! The README's plot: the size of the file on each platform, beside catatonit's.

use crate::report::{Results, grouped};
use anyhow::Result;
use plotters::prelude::*;

/// Easy to tell apart in print and for colour-blind readers (Okabe and Ito).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);

const FONT: &str = "sans-serif";

/// Pixels of a row, and of the title and the axis.
const ROW: u32 = 41;
const FRAME: u32 = 96;

/// Part of a row.
const BAR: f64 = 0.36;

/// Where the logarithmic axis starts, in bytes.
const LEAST: f64 = 100.0;

/// Draws the plot as SVG.
///
/// # Errors
///
/// Those of plotters.
pub fn draw(results: &Results) -> Result<String> {
    let platforms = results.platforms();
    // The legend has the first row.
    let names: Vec<&str> = [""]
        .into_iter()
        .chain(platforms.iter().map(|it| it.0))
        .collect();
    let ours: Vec<u64> = platforms.iter().map(|it| it.1).collect();
    let theirs: Vec<u64> = platforms.iter().map(|it| it.2).collect();
    // Leaves room for the number behind the longest bar.
    let bytes = LEAST..*theirs.iter().max().unwrap_or(&0) as f64 * 5.0;
    // From the bottom up, so that the first row is on top.
    let rows = names.len() as f64 - 0.5..-0.7;

    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (820, FRAME + ROW * names.len() as u32));
    let area = area.into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Size of the file on each platform", (FONT, 18))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(bytes.log_scale(), rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 14))
        .x_desc("bytes, logarithmic")
        .x_label_formatter(&|bytes| grouped(*bytes as u64))
        .y_labels(names.len())
        .y_label_formatter(&|row| names[*row as usize].to_owned())
        .draw()?;
    for (name, colour, above, bytes) in [
        ("pause", BLUE, BAR, ours),
        ("catatonit, static", ORANGE, 0.0, theirs),
    ] {
        let bars = || {
            (1..)
                .zip(&bytes)
                .map(|(row, bytes)| (f64::from(row) - above, *bytes))
        };
        let rectangle = |(top, bytes)| {
            Rectangle::new([(LEAST, top), (bytes as f64, top + BAR)], colour.filled())
        };
        let number = |(top, bytes)| {
            EmptyElement::at((bytes as f64, top + BAR / 2.0))
                + Text::new(grouped(bytes), (6, -7), (FONT, 14))
        };
        chart
            .draw_series(bars().map(rectangle))?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 12, y + 6)], colour.filled()));
        chart.draw_series(bars().map(number))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(18)
        .label_font((FONT, 14))
        .draw()?;
    area.present()?;
    drop((chart, area));
    Ok(svg)
}
