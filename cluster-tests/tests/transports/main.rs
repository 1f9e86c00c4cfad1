//! Every transport held to the same promises: one suite that runs for each of
//! them, what each has of its own, and devices that change from any to any.
//!
//! In reading order: [`case`] (what a test is given), [`suite`], [`matrix`],
//! then what differs.

mod balancer;
mod case;
mod credentials;
mod drain;
mod framing;
mod goodbyes;
mod heartbeat;
mod matrix;
mod parked;
mod polling;
mod refusals;
mod suite;
mod typing;
mod websocket;

use loadtest::client::Transport;
use loadtest::history::Allowed;

/// Nothing here may lose or rewrite anything.
const STRICT: Allowed = Allowed { reset: false };

/// Every way for frames to travel.
const TRANSPORTS: [Transport; 8] = [
    Transport::WebSocket,
    Transport::WebSocketProtobuf,
    Transport::Sse,
    Transport::Stream,
    Transport::Iframe,
    Transport::LongPoll,
    Transport::LongPollProtobuf,
    Transport::ShortPoll,
];
