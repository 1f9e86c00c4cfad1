//! What the binaries of the cluster share: flags, signals, telemetry and the
//! admin server. It knows nothing of messaging.
//!
//! In reading order: [`mod@run`] (from `main` to the exit code), [`args`]
//! (flags), [`duration`] (how flags write durations), [`environment`] (warns of
//! misspelt variables), [`signals`] (SIGTERM and SIGINT), [`settings`] (the
//! `OTEL_*` variables), [`telemetry`] (export of metrics, traces and logs;
//! [`otlp`] has the exporters), [`metric`] (instruments), [`process`] (metrics of
//! the process itself), [`trace`] (spans), [`logs`], [`log_limit`] (limits log
//! lines that others can cause), [`admin`] (`/healthz`, `/readyz`, `/metrics`),
//! [`healthcheck`] (the subcommand that asks for `/readyz`), [`check`]
//! (whether a configuration would work), [`causes`] (of errors), [`Backoff`]
//! (pauses between attempts), [`Tasks`] (tasks that their owner waits for),
//! [`lock`] (locks with a checked order), [`pem_files`] (certificates that are
//! read again), [`validity`] (from when to when they are valid), [`stream`] (a
//! connection with or without TLS), [`internal_tls`] (TLS between our own
//! processes).

pub mod admin;
pub mod args;
mod backoff;
pub mod causes;
pub mod check;
pub mod duration;
pub mod environment;
pub mod healthcheck;
pub mod internal_tls;
pub mod lock;
pub mod log_limit;
pub mod logs;
pub mod metric;
pub mod otlp;
pub mod pem_files;
pub mod process;
pub mod run;
pub mod settings;
pub mod signals;
pub mod stream;
mod tasks;
pub mod telemetry;
pub mod trace;
pub mod validity;

pub use args::Args;
pub use backoff::Backoff;
pub use run::{Process, run};
pub use tasks::Tasks;
pub use telemetry::Program;
