//! Channels. Each has one feed on this node: a node hears what is published
//! once, whoever reads it here, and reads what it missed from the channel's log
//! once for all its subscribers. [`registry`] finds a channel's feed, [`feed`]
//! passes publications on, [`log`] keeps those that came early and the last few,
//! [`command`] does `subscribe` and `unsubscribe`.

mod command;
mod feed;
mod log;
mod registry;

pub use registry::Channels;
pub(crate) use registry::PAGE;
