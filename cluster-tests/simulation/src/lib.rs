//! The whole cluster in one process of one thread: gateways, routers and the store's
//! own code, with everything around them made by a seed. The same seed gives the same
//! run, to the byte.
//!
//! In reading order: `machine` (clock and chance, which come from the seed), `network`
//! (the connections between hosts), `world` (hosts, each with a runtime and a clock
//! that stands still until it is moved), `hosts` (what runs on them), `person` (who
//! writes and reads), `faults` (what goes wrong), [`run`] (one seed from beginning to
//! judgement) and `report` (many seeds). ADR 0025 says what is simulated and what is
//! not.

mod faults;
mod hosts;
mod machine;
mod network;
mod person;
mod report;
mod run;
mod world;

pub use report::{Report, Seeds, one};
pub use run::{Outcome, run};
