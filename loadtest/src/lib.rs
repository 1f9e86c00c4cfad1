//! The yardstick: clients of every transport, a history of what was sent,
//! acknowledged and received with the one checker that judges it, and
//! workloads that measure a real cluster. The cluster tests use all but the
//! workloads.
//!
//! In reading order: [`client`], [`token`], [`history`], [`fleet`] (gateways
//! and routers as processes), [`workload`] (and `foreign`, the clients of other
//! servers), [`summary`], [`report`], [`versus`], [`results`] (what was
//! measured, and the documents that say it), [`overload`] (many times what a cluster
//! can do); and [`capacity`], which reckons
//! and simulates what no machine here can run.

pub mod capacity;
pub mod client;
pub mod fleet;
pub(crate) mod foreign;
pub mod history;
pub mod overload;
pub mod report;
pub mod results;
pub mod summary;
pub mod token;
pub mod versus;
pub mod workload;
