//! Sockets and HTTP, below all routes: [`acceptor`] accepts connections,
//! `slots` limits them, `connection` serves one with hyper (`scan` and
//! [`strict`] refuse what hyper is too lenient about, [`refusal`] writes the
//! refusal), `socket` is a connection that a WebSocket may take over, `stream` the
//! bytes below. `forwarded` and `proxy_header` read what proxies say about a
//! client's address, `open` is what a request holds of its address's slots and of
//! its connection, whose use `activity` follows. `give_up` ends them all. `browser` is what each response
//! tells browsers. [`long_response`]
//! marks streams and waiting polls, and `long_response_writer` writes them
//! without hyper. [`busy`] responds to an EventSource that cannot be served
//! now. Nothing here knows of sessions.

pub mod acceptor;
mod activity;
pub mod body;
mod browser;
pub mod busy;
mod connection;
mod forwarded;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod give_up;
pub mod long_response;
mod long_response_writer;
mod open;
mod proxy_header;
mod refusal;
mod scan;
mod slots;
mod socket;
mod stream;
pub mod strict;

pub use acceptor::Acceptor;
pub(crate) use open::{Client, OpenRequest, TooManySessions, Upgrade, Upgraded};
pub(crate) use slots::AddressSlot;
pub use slots::Counts;
pub(crate) use socket::Socket;
