//! What the protocol says beyond sending and receiving, on real processes:
//! amendments, receipts, presence, typing, kick and revoke, across nodes and through
//! faults.
//!
//! In reading order: [`scene`] (what a test is given), then one file a topic.

mod amendments;
mod kick;
mod presence;
mod receipts;
mod revoke;
mod scene;
mod stores;
mod typing;
