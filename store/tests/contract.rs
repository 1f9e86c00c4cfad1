//! The contract of every store: a test is a function of the
//! [`Kind`](contract::harness::Kind) of store, and `for_every_store!` runs it
//! for each implementation.
#![allow(unreachable_pub, reason = "a test has no outside")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contract {
    pub mod harness;

    mod amendments;
    mod announcements;
    mod changed_marks;
    mod channels;
    mod checkpoints;
    mod cursors;
    mod damage;
    mod delivered;
    mod embedded;
    pub mod fuzz;
    mod groups;
    mod history;
    mod marks;
    mod model;
    mod posting;
    mod presence;
    mod redis;
    mod revocations;
    mod sessions;
    mod tickets;
    mod unheard;
    mod unread;
    mod weights;
}
