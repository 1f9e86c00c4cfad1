//! The ranks of locks under which other ones are taken, from the first to the
//! last ([`daemon::lock`]). All others are leaves.

/// A client of another framing: its exchange is asked under it.
pub(crate) const FRAMING: u8 = 5;
/// The channels of this node.
pub(crate) const FEEDS: u8 = 10;
/// Who is subscribed to one channel. Who leaves last looks under the lock of
/// all channels.
pub(crate) const SUBSCRIBERS: u8 = 20;
/// Whose presence is watched.
pub(crate) const WATCHING: u8 = 30;
/// The sessions between two polls: which of them have ended is asked under it.
pub(crate) const PARKED: u8 = 35;
/// One session: what is passed on to many, and what is said of presence, enters
/// it under their locks.
pub(crate) const SESSION: u8 = 40;
/// The requests without an answer.
pub(crate) const UNANSWERED: u8 = 50;
/// The routers that take requests: one is chosen for a request under its lock.
pub(crate) const ROUTERS: u8 = 60;
/// What goes to one router next: all routers are told under their lock.
pub(crate) const REQUESTS: u8 = 70;
