//! To the other gateways and back. A client's request may come to any gateway, and
//! its session is at one: there it is passed on ([`Relay`]), over one HTTP/2
//! connection to each other gateway (`connection`), to its port for that
//! ([`port`]), which has the routes of the sessions that polls continue. Where a
//! gateway is reached says `directory`, who has a session whose name its client
//! has chosen [`Claims`]. [`pipe`] joins the two halves of a WebSocket.

mod claims;
mod connection;
mod directory;
pub(crate) mod pipe;
pub mod port;
mod relay;

use claims::Claims;
pub(crate) use claims::{Claim, Holder, Unknown};
pub(crate) use relay::{Opened, Passing, apart};
pub use relay::{Relay, RelayConfig, Unreached};

use std::sync::Arc;

use http::HeaderName;
use store::Peers;
use tokio_util::task::TaskTracker;

/// The other gateways, for one that has some. Clones share everything.
#[derive(Clone)]
pub struct OtherGateways {
    /// The way to them.
    pub relay: Arc<Relay>,
    /// What they are told of this one's sessions.
    pub(crate) claims: Arc<Claims>,
}

impl OtherGateways {
    /// To whoever `peers` knows, from the node of this name. Its tasks are on
    /// `tracker`.
    pub fn new(node: &str, peers: Arc<dyn Peers>, config: RelayConfig, tracker: TaskTracker) -> Self {
        Self { relay: Relay::new(peers.clone(), config, tracker), claims: Claims::new(node, peers) }
    }
}

/// On a request that is passed on: the address and port of its client.
const CLIENT: HeaderName = HeaderName::from_static("switchboard-client");
/// What a node answers who is asked for `/`: its name.
const NODE: HeaderName = HeaderName::from_static("switchboard-node");

/// On a request that has come from another gateway: it is answered here, or not at
/// all.
#[derive(Debug, Clone, Copy)]
pub struct Relayed;

/// Bytes of one request or WebSocket that are on the way from one gateway to
/// another in each direction, at most: so much it may hold at either of them.
const WINDOW: u32 = 32 << 10;
/// All of them together: requests that wait for their clients must not hold up
/// others. What they are bounded by is their number.
const ALL_WINDOWS: u32 = (1 << 31) - 1;
