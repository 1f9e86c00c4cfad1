//! What every binary of the cluster shares: flags, signals, telemetry, and the
//! admin server. Nothing of messaging.
//!
//! In reading order: [`args`] (the flags), [`duration`] (how durations are
//! written), [`environment`] (variables that nobody reads), [`mod@run`] (from `main` to the exit code), [`signals`] (when to
//! stop), [`causes`] (of errors), [`settings`] (the `OTEL_*` variables), [`telemetry`] (what leaves, and
//! how it ends; `otlp` are its exporters), [`metric`] (instruments), [`process`]
//! (what the process takes), [`trace`] (spans), [`logs`], [`seldom`] (lines that
//! others cause), [`admin`] (`/healthz`, `/readyz`, `/metrics`), [`healthcheck`]
//! (asks them), [`check`] (whether a configuration would work), [`lock`] (locks
//! that know their order), [`Tasks`] (what is stopped and waited for together),
//! [`Backoff`] (pauses between tries).

pub mod admin;
pub mod args;
mod backoff;
pub mod causes;
pub mod check;
pub mod duration;
pub mod environment;
pub mod healthcheck;
pub mod lock;
pub mod logs;
pub mod metric;
mod otlp;
pub mod process;
pub mod run;
pub mod seldom;
pub mod settings;
pub mod signals;
mod tasks;
pub mod telemetry;
pub mod trace;

pub use args::Args;
pub use backoff::Backoff;
pub use run::{Process, run};
pub use tasks::Tasks;
pub use telemetry::Program;
