//! Sockets and HTTP, below every route: [`acceptor`] takes connections in,
//! `places` bounds them, `connection` serves one with hyper (`scan` and [`strict`]
//! refuse what hyper is too lenient about, [`refusal`] says so), `certificate`
//! holds the TLS certificate, `socket` is a connection that a WebSocket takes
//! over, `stream` the bytes below. [`long_response`] marks streams and waiting
//! polls, and `long_response_writer` writes them without hyper. [`busy`] answers
//! an EventSource that cannot be served now, [`body`] gathers what a request brings.
//! Nothing here knows of sessions.

pub mod acceptor;
pub mod body;
pub mod busy;
mod certificate;
mod connection;
pub mod long_response;
mod long_response_writer;
mod places;
mod refusal;
mod scan;
mod socket;
mod stream;
pub mod strict;

pub use acceptor::Acceptor;
pub use places::Counts;
pub(crate) use socket::Socket;
