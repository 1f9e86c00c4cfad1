//! One plot as SVG that stands inside an HTML page.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::escape;

const SIZE: (u32, u32) = (760, 300);

/// Colours that can be told apart, one after another.
const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(23, 190, 207),
    RGBColor(127, 127, 127),
];

/// Lines over one pair of axes.
pub(super) struct Plot<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) lines: Vec<Line>,
    /// How a place on the x axis is written.
    pub(super) x_label: fn(f64) -> String,
}

/// Points from left to right.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Plot<'_> {
    /// Nothing where there is nothing to see.
    pub(super) fn svg(&self) -> Result<String> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        if points().count() < 2 {
            return Ok(String::new());
        }
        let (left, right) =
            points().fold((f64::MAX, f64::MIN), |(l, r), point| (l.min(point.0), r.max(point.0)));
        let top = points().fold(0.0_f64, |top, point| top.max(point.1));
        let mut text = String::new();
        self.draw(&mut text, left..right.max(left + 0.001), 0.0..if top > 0.0 { top * 1.05 } else { 1.0 })
            .map_err(|error| anyhow!("a plot could not be drawn: {error}"))?;
        Ok(self.legend() + &inline(&text))
    }

    /// Which colour is whose, above the plot: inside it, it would hide lines.
    fn legend(&self) -> String {
        let entries = self.lines.iter().zip(COLOURS.iter().cycle()).map(|(line, RGBColor(r, g, b))| {
            format!("<span style=\"color:rgb({r},{g},{b})\">&#9632;</span> {} ", escape(&line.name))
        });
        format!("<p class=\"legend\">{}</p>\n", entries.collect::<String>())
    }

    fn draw(
        &self,
        text: &mut String,
        x: std::ops::Range<f64>,
        y: std::ops::Range<f64>,
    ) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(BLACK.mix(0.4))
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| (self.x_label)(*x))
            .label_style(("sans-serif", 12))
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let colour = *colour;
            chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        }
        area.present()?;
        Ok(())
    }
}

/// Inside HTML an `svg` element needs no namespace, and scales with the page.
fn inline(text: &str) -> String {
    let namespace = concat!(" xmlns=\"http", "://www.w3.org/2000/svg\"");
    text.replacen(namespace, "", 1).replacen("<svg width=\"760\" height=\"300\"", "<svg", 1)
}
