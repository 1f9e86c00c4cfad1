//! What every binary of the cluster shares: flags, logs, signals, metrics, and
//! the admin server. Nothing of messaging.
//!
//! In reading order: [`args`] (the flags), [`duration`] (how durations are
//! written), [`mod@run`] (from `main` to the exit code), [`signals`] (when to
//! stop), [`logs`], [`telemetry`] (instruments and their export), [`admin`]
//! (`/healthz`, `/readyz`, `/metrics`), [`healthcheck`] (asks them).

pub mod admin;
pub mod args;
pub mod duration;
pub mod healthcheck;
pub mod logs;
pub mod run;
pub mod signals;
pub mod telemetry;

pub use args::Args;
pub use run::{Process, run};
pub use telemetry::meter;
