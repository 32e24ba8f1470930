//! Plots of horizontal bars, as SVG.

use std::fmt::Write;

/// Easy to tell apart in print and for colour-blind readers (Okabe and Ito).
const COLOURS: [&str; 3] = ["#0072b2", "#999999", "#e69f00"];

/// Pixels: the image, the names on the left, the room for the number after the longest bar, a bar.
const WIDTH: f64 = 820.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 15.0;

pub struct Plot<'a> {
    pub title: &'a str,
    /// What the axis shows, with its unit.
    pub axis: &'a str,
    /// What each group of bars stands for.
    pub names: Vec<&'a str>,
    /// What each colour stands for, and its value for each name.
    pub series: Vec<(&'a str, Vec<Option<f64>>)>,
    pub is_logarithmic: bool,
    /// Where a logarithmic axis starts, or the distance of a linear one's numbers.
    pub step: f64,
    pub print: fn(f64) -> String,
}

impl Plot<'_> {
    pub fn draw(&self) -> String {
        let values = self.series.iter().flat_map(|it| it.1.iter().flatten());
        let most = values.copied().fold(0.0, f64::max);
        let part = |value: f64| match self.is_logarithmic {
            true => (value / self.step).ln() / (most / self.step).ln(),
            false => value / most,
        };
        let x = |value: f64| LEFT + part(value) * (WIDTH - LEFT - RIGHT);
        let has_legend = self.series.len() > 1;
        let top = if has_legend { 76.0 } else { 48.0 };
        let row = BAR * self.series.len() as f64 + 14.0;
        let bottom = top + row * self.names.len() as f64;

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            height = bottom + 54.0
        );
        let mut text = |x: f64, y: f64, more: &str, text: &str| {
            _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\"{more}>{text}</text>");
        };
        let middle = " text-anchor=\"middle\"";
        let title = format!("{middle} font-size=\"18\"");
        text(WIDTH / 2.0, 28.0, &title, self.title);
        let centre = (LEFT + WIDTH - RIGHT) / 2.0;
        text(centre, bottom + 42.0, middle, self.axis);
        for (at, name) in self.names.iter().enumerate() {
            let y = top + row * (at as f64 + 0.5) + 5.0;
            text(LEFT - 10.0, y, " text-anchor=\"end\"", name);
        }
        let ticks = (0..10).map(|it| match self.is_logarithmic {
            true => self.step * 10_f64.powi(it),
            false => self.step * f64::from(it),
        });
        let ticks = ticks.filter(|it| *it <= most);
        for tick in ticks.clone() {
            text(x(tick), bottom + 20.0, middle, &(self.print)(tick));
        }
        for tick in ticks {
            let x = x(tick);
            _ = writeln!(svg, "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#ddd\"/>");
        }
        let mut bar = |x: f64, y: f64, width: f64, colour: &str, text: &str| {
            let at = format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\"");
            let [x, y] = [x + width + 6.0, y + 12.5];
            let rectangle = format!("<rect {at} height=\"{BAR}\" fill=\"{colour}\"/>");
            _ = writeln!(
                svg,
                "{rectangle}\n<text x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
            );
        };
        let series = || self.series.iter().zip(COLOURS);
        if has_legend {
            for (at, ((name, _), colour)) in series().enumerate() {
                bar(LEFT + 255.0 * at as f64, 46.0, BAR, colour, name);
            }
        }
        for at in 0..self.names.len() {
            let bars = series().filter_map(|((_, values), colour)| Some((values[at]?, colour)));
            let height = BAR * bars.clone().count() as f64;
            let first = top + row * (at as f64 + 0.5) - height / 2.0;
            for (line, (value, colour)) in bars.enumerate() {
                let (y, width) = (first + BAR * line as f64, x(value) - LEFT);
                bar(LEFT, y, width, colour, &(self.print)(value));
            }
        }
        svg + "</svg>\n"
    }
}
