//! Structured logs: to standard error, and by OTLP where that is exported.
//! What is logged within a span says its trace. Tokens, tickets and bodies are
//! never given to them, and of what dependencies log only the message is kept.

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

/// Dependencies that say too much of what only their own developers need, or
/// what any peer can make them say (h2 warns of each strange frame). Whoever
/// names one in the filter gets it: later directives count.
const QUIET: &str = "opentelemetry=warn,h2=error";
/// The crates of this project: what others log is theirs.
const OURS: [&str; 7] = ["daemon", "gateway", "loadtest", "proto", "router", "standalone", "store"];

/// Starts logging, once a process. Fails when the filter cannot be read.
pub fn start(args: &LogArgs) -> anyhow::Result<()> {
    start_with(args, None)
}

/// The same; what is logged goes to `export`, too.
pub(crate) fn start_with(args: &LogArgs, export: Option<&SdkLoggerProvider>) -> anyhow::Result<()> {
    let filter = filter(&args.log)?;
    let export = export.map(|provider| {
        // Only ours: what exporting itself says would never end, and other
        // dependencies give attributes of their own.
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
