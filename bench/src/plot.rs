//! Plots of horizontal bars, as SVG.

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

        let text = |x: f64, y: f64, more: &str, text: &str| {
            format!("<text x=\"{x:.1}\" y=\"{y:.1}\"{more}>{text}</text>\n")
        };
        let bar = |x: f64, y: f64, width: f64, colour: &str, name: &str| {
            let at = format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\"");
            let name = text(x + width + 6.0, y + 12.5, "", name);
            format!("<rect {at} fill=\"{colour}\"/>\n{name}")
        };
        let middle = " text-anchor=\"middle\"";
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            height = bottom + 54.0
        );
        let title = format!("{middle} font-size=\"18\"");
        svg += &text(WIDTH / 2.0, 28.0, &title, self.title);
        let centre = (LEFT + WIDTH - RIGHT) / 2.0;
        svg += &text(centre, bottom + 42.0, middle, self.axis);
        let ticks = (0..10).map(|it| match self.is_logarithmic {
            true => self.step * 10_f64.powi(it),
            false => self.step * f64::from(it),
        });
        for tick in ticks.filter(|it| *it <= most) {
            let x = x(tick);
            svg += &format!("<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#ddd\"/>\n");
            svg += &text(x, bottom + 20.0, middle, &(self.print)(tick));
        }
        let series = || self.series.iter().zip(COLOURS);
        for (at, ((name, _), colour)) in series().enumerate().filter(|_| has_legend) {
            svg += &bar(LEFT + 255.0 * at as f64, 46.0, BAR, colour, name);
        }
        for (at, name) in self.names.iter().enumerate() {
            let y = top + row * (at as f64 + 0.5);
            svg += &text(LEFT - 10.0, y + 5.0, " text-anchor=\"end\"", name);
            let bars = series().filter_map(|((_, values), colour)| Some((values[at]?, colour)));
            let first = y - BAR * bars.clone().count() as f64 / 2.0;
            for (line, (value, colour)) in bars.enumerate() {
                let y = first + BAR * line as f64;
                svg += &bar(LEFT, y, x(value) - LEFT, colour, &(self.print)(value));
            }
        }
        svg + "</svg>\n"
    }
}
