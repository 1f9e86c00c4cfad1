//! Structured logs: to standard error, and by OTLP where that is exported.
//! What is logged within a span says its trace. Tokens, tickets and bodies are
//! never given to them.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::args::{LogArgs, LogFormat};
use crate::trace;

/// Says too much at `info` of what only its own developers need. Whoever names
/// it in the filter gets it: later directives count.
const QUIET: &str = "opentelemetry=warn";
/// What exporting itself says is not exported: that would never end.
const NOT_EXPORTED: [&str; 5] = ["opentelemetry", "tonic", "h2", "hyper", "tower"];
/// Between two lines of the exporters, which fail again and again while a
/// collector is away.
const EXPORTERS_EVERY_SECONDS: u64 = 60;

/// Starts logging, once a process. Fails when the filter cannot be read.
pub fn start(args: &LogArgs) -> anyhow::Result<()> {
    start_with(args, None)
}

/// The same; what is logged goes to `export`, too.
pub(crate) fn start_with(args: &LogArgs, export: Option<&SdkLoggerProvider>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", args.log)).with_context(|| {
        format!("--log: `{}` is not a filter such as info or info,router=debug", args.log)
    })?;
    let export = export.map(|provider| {
        let not = NOT_EXPORTED.map(|target| (target, LevelFilter::OFF));
        let targets = Targets::new().with_default(LevelFilter::TRACE).with_targets(not);
        OpenTelemetryTracingBridge::new(provider).with_filter(targets)
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter).with(export);
    match args.log_format {
        LogFormat::Text => {
            let form = Traced { form: format::format(), json: false, exporters: Seldom::new() };
            registry.with(lines.event_format(form)).try_init()
        }
        LogFormat::Json => {
            let form = format::format().json().flatten_event(true);
            let form = Traced { form, json: true, exporters: Seldom::new() };
            registry.with(lines.json().event_format(form)).try_init()
        }
    }
    .context("logging was started twice")
}

/// Lines that say the trace and the span that they belong to.
struct Traced<F> {
    form: F,
    json: bool,
    exporters: Seldom,
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target().starts_with("opentelemetry") && !self.exporters.again() {
            return Ok(());
        }
        let Some((trace, span)) = trace::ids() else {
            return self.form.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.form.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) if self.json => {
                write!(writer, r#"{{"trace_id":"{trace}","span_id":"{span}",{rest}"#)
            }
            _ => writeln!(writer, "{} trace_id={trace} span_id={span}", line.trim_end_matches('\n')),
        }
    }
}

/// Says yes once in a while.
struct Seldom {
    since: Instant,
    /// Seconds after `since` from which the answer is yes again.
    next: AtomicU64,
}

impl Seldom {
    fn new() -> Self {
        Self { since: Instant::now(), next: AtomicU64::new(0) }
    }

    fn again(&self) -> bool {
        let now = self.since.elapsed().as_secs();
        let next = self.next.load(Ordering::Relaxed);
        let later = now + EXPORTERS_EVERY_SECONDS;
        now >= next && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exporters_say_something_once_in_a_while() {
        let seldom = Seldom::new();
        assert!(seldom.again());
        assert!(!seldom.again());
    }
}
