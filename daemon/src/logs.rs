//! Structured logs to standard error. Tokens, tickets and bodies are never
//! given to them.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::{LogArgs, LogFormat};

/// Says too much at `info` of what only its own developers need. Whoever names
/// it in the filter gets it: later directives count.
const QUIET: &str = "opentelemetry=warn";

/// Starts logging, once a process. Fails when the filter cannot be read.
pub fn start(args: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", args.log)).with_context(|| {
        format!("--log: `{}` is not a filter such as info or info,router=debug", args.log)
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    match args.log_format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .context("logging was started twice")
}
