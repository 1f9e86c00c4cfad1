//! A server in this process that speaks as Redis does: the commands that the store
//! uses, and its scripts unchanged, in Lua 5.1. It is for what a real Redis cannot
//! have: a clock that somebody else moves, and faults between any two commands. The
//! store's contract suite holds it to a real Redis.
//!
//! In reading order: [`Database`] (keys and commands), `scripts` (the running of
//! Lua), [`StandIn`] (connections, subscriptions), [`StandInServer`] (on a socket of
//! the kernel).

mod commands;
mod database;
mod message_pack;
mod protocol;
mod scripts;
mod server;
mod sorted;

pub use database::{Clock, Database, DatabaseCopy};
pub use server::{Fate, Faults, NoFaults, StandIn, StandInServer};
