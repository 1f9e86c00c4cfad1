//! Channels. Each has one feed on this node: the node hears a publication once,
//! whoever reads it here, and reads what it missed from the channel's log once
//! for all subscribers. [`registry`] finds a channel's feed, [`feed`] passes
//! publications on, [`log`] keeps early and recent ones, [`command`] executes
//! `subscribe` and `unsubscribe`.

mod command;
mod feed;
mod log;
mod registry;

pub use registry::Channels;
pub(crate) use registry::PAGE;
