//! Sockets and HTTP, below all routes: [`acceptor`] accepts connections,
//! `slots` limits them, `connection` serves one with hyper (`scan` and
//! [`strict`] refuse what hyper is too lenient about, [`refusal`] writes the
//! refusal), `socket` is a connection that a WebSocket may take over, `stream` the
//! bytes below. [`long_response`]
//! marks streams and waiting polls, and `long_response_writer` writes them
//! without hyper. [`busy`] responds to an EventSource that cannot be served
//! now. Nothing here knows of sessions.

pub mod acceptor;
pub mod body;
pub mod busy;
mod connection;
pub mod long_response;
mod long_response_writer;
mod refusal;
mod scan;
mod slots;
mod socket;
mod stream;
pub mod strict;

pub use acceptor::Acceptor;
pub use slots::Counts;
pub(crate) use socket::Socket;
