//! The framings of others over real sockets, with an echo inside: what their
//! protocols say, and the known ways to harm such servers.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod elsewhere;
mod polling;
mod socketio;
mod support;
mod websocket;
