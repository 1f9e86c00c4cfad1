//! What the protocol says beyond sending and receiving, on real processes:
//! amendments, receipts, presence, typing and kick, across nodes and through
//! faults.
//!
//! In reading order: [`scene`] (what a test is given), then one file a topic.

mod amendments;
mod kick;
mod presence;
mod receipts;
mod scene;
mod stores;
mod typing;
