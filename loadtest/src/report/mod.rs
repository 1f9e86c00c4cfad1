//! A run as one HTML file that needs nothing else: no script, no style sheet,
//! no picture from elsewhere.

mod plot;

use std::fmt::Write as _;

use anyhow::Result;
use plot::{Line, Plot};

use crate::summary::Summary;
use crate::workload::Sample;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#222}h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}table{border-collapse:collapse}\
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}td.n{text-align:right;\
font-variant-numeric:tabular-nums}pre{background:#f5f5f5;padding:.8rem;overflow:auto}svg{width:100%;height:auto}\
.legend{margin:.1rem 0;font-size:13px}.bad{color:#b00020;font-weight:600}.good{color:#1b7f3b;font-weight:600}.note{background:#fff3cd;padding:.5rem .8rem}";

/// A run as one HTML page.
pub fn html(summary: &Summary) -> Result<String> {
    let title = escape(&format!("{} on {}", summary.scenario, summary.server));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    verdict(&mut page, summary)?;
    writeln!(page, "<pre>{}</pre>", escape(&summary.to_string()))?;
    for (heading, plot) in plots(summary) {
        let svg = plot.svg()?;
        if !svg.is_empty() {
            writeln!(page, "<h2>{}</h2>\n{svg}", escape(heading))?;
        }
    }
    processes(&mut page, summary)?;
    page.push_str("</body></html>\n");
    Ok(page)
}

fn verdict(page: &mut String, summary: &Summary) -> Result<()> {
    if summary.is_clean() {
        page.push_str("<p class=\"good\">Every promise was kept.</p>\n");
    } else {
        page.push_str(
            "<p class=\"bad\">Something was lost, repeated, reordered, refused or unanswered.</p>\n",
        );
    }
    if let Some(generator) = summary.generator.as_ref().filter(|generator| generator.was_the_limit) {
        writeln!(
            page,
            "<p class=\"note\">The generator was the limit: its timers were {:.1} ms late (p99). These \
             figures say what it can do, not the servers.</p>",
            generator.late_p99
        )?;
    }
    Ok(())
}

fn processes(page: &mut String, summary: &Summary) -> Result<()> {
    if summary.processes.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<h2>Processes in the measured time</h2>\n<table><tr><th>process<th>cores<th>MiB resident</tr>\n",
    );
    for process in &summary.processes {
        writeln!(
            page,
            "<tr><td>{}<td class=\"n\">{:.2}<td class=\"n\">{:.1}</tr>",
            escape(&process.name),
            process.cores,
            mebibytes(process.resident)
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn plots(summary: &Summary) -> Vec<(&'static str, Plot<'static>)> {
    let over_time = |y, lines| Plot { x: "seconds", y, lines, x_label: |x| format!("{x:.1}") };
    let line = |name: &str, of: fn(&Sample) -> f64| Line {
        name: name.to_owned(),
        points: summary.series.iter().map(|sample| (sample.at, of(sample))).collect(),
    };
    let each = |of: fn(&Sample, usize) -> Option<f64>| -> Vec<Line> {
        let processes = summary.processes.iter().enumerate();
        let points = |index| {
            summary.series.iter().filter_map(move |sample| Some((sample.at, of(sample, index)?))).collect()
        };
        processes.map(|(index, process)| Line { name: process.name.clone(), points: points(index) }).collect()
    };
    let per_second = |count: u64, sample: &Sample| count as f64 / sample.seconds.max(0.001);
    let rate = |name: &str, of: fn(&Sample) -> u64| Line {
        name: name.to_owned(),
        points: summary.series.iter().map(|sample| (sample.at, per_second(of(sample), sample))).collect(),
    };
    let times = if summary.returns.is_some() { "until caught up" } else { "latency" };
    // 90 % stands at 1, 99 % at 2, 99.9 % at 3.
    let nines = summary.percentiles.iter().filter(|point| point.0 < 1.0);
    let nines = nines.map(|(quantile, millis)| (-(1.0 - quantile).log10(), *millis)).collect();
    vec![
        (
            "Latency over time",
            over_time("ms", vec![line("p50", |s| s.p50), line("p99", |s| s.p99), line("max", |s| s.max)]),
        ),
        (
            "Latency by percentile",
            Plot {
                x: "percentile",
                y: "ms",
                lines: vec![Line { name: times.to_owned(), points: nines }],
                x_label: percentile,
            },
        ),
        (
            "Throughput",
            over_time("per second", vec![rate("sent", |s| s.sent), rate("delivered", |s| s.delivered)]),
        ),
        ("Errors", over_time("per second", vec![rate("refused", |s| s.errors)])),
        ("CPU of each process", over_time("cores", each(|sample, index| sample.cores.get(index).copied()))),
        (
            "Memory of each process",
            over_time(
                "MiB resident",
                each(|sample, index| sample.resident.get(index).map(|b| mebibytes(*b))),
            ),
        ),
    ]
}

fn percentile(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10.0_f64.powf(-nines));
    let digits = if nines < 2.0 { 0 } else { nines as usize - 1 };
    format!("{percent:.digits$} %")
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::ProcessCost;

    fn summary() -> Summary {
        let series = (1..=20_u32).map(|second| Sample {
            at: f64::from(second),
            seconds: 1.0,
            sent: 100,
            delivered: u64::from(90 + second),
            errors: 1,
            p50: 1.0,
            p99: f64::from(second),
            max: 50.0,
            cores: vec![0.5, 0.2],
            resident: vec![10 << 20, 20 << 20],
        });
        Summary {
            scenario: "direct",
            server: "switchboard",
            percentiles: vec![(0.0, 0.1), (0.5, 1.0), (0.9, 2.0), (0.999, 9.0)],
            processes: ["<gateway>", "generator"]
                .map(|name| ProcessCost { name: name.to_owned(), cores: 0.5, resident: 1 << 20 })
                .into(),
            series: series.collect(),
            ..Summary::default()
        }
    }

    #[test]
    fn a_report_has_all_plots_and_needs_nothing_from_elsewhere() {
        let page = html(&summary()).unwrap();
        assert_eq!(page.matches("<svg").count(), 6);
        for outside in ["http:", "https:", "//", "src=", "href=", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("&lt;gateway&gt;") && !page.contains("<gateway>"));
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let page = html(&Summary { series: Vec::new(), percentiles: Vec::new(), ..summary() }).unwrap();
        assert_eq!(page.matches("<svg").count(), 0);
    }

    #[test]
    fn a_broken_promise_is_said_at_the_top() {
        let broken = Summary { violations: vec!["missing: a~b #3".to_owned()], ..summary() };
        let page = html(&broken).unwrap();
        assert!(page.contains("class=\"bad\"") && page.contains("missing: a~b #3"));
    }
}
