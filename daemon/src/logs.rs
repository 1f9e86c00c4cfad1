//! Structured logs: to standard error, and by OTLP where that is configured. A
//! line within a span has the ids of trace and span. Our code never logs
//! tokens, tickets or bodies; of a dependency's events only the message is
//! kept.

mod line;

use std::io::IsTerminal as _;

use anyhow::Context as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::args::LogArgs;
use line::Lines;

/// Filters for dependencies whose logs only help their own developers, or which
/// any peer can cause (h2 warns of each odd frame). `--log` comes after them,
/// so naming one there overrides this.
const QUIET: &str = "opentelemetry=warn,h2=error";
/// The crates of this project; other targets are dependencies.
const OURS: [&str; 7] = ["daemon", "gateway", "loadtest", "proto", "router", "standalone", "store"];

/// Starts logging; called once in a process. Fails when `--log` is no filter.
pub fn start(args: &LogArgs) -> anyhow::Result<()> {
    start_with(args, None)
}

/// The same, and also gives events to `export`.
pub(crate) fn start_with(args: &LogArgs, export: Option<&SdkLoggerProvider>) -> anyhow::Result<()> {
    let filter = filter(&args.log)?;
    let export = export.map(|provider| {
        // Only our crates: the exporter's own lines would cause more of them
        // without end, and other dependencies have attributes of their own.
        let targets = Targets::new().with_targets(OURS.map(|name| (name, LevelFilter::TRACE)));
        OpenTelemetryTracingBridge::new(provider).with_filter(targets)
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .event_format(Lines::new(args.log_format));
    let registry = tracing_subscriber::registry().with(filter).with(export).with(lines);
    registry.try_init().context("logging was started twice")
}

pub(crate) fn filter(log: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{QUIET},{log}"))
        .with_context(|| format!("--log: `{log}` is not a filter such as info or info,router=debug"))
}
