//! How every transport opens its session.

use std::sync::Arc;

use proto::{ChannelId, Cursor, End, Seq};

use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::metrics;
use crate::protocol::failure::Failure;
use crate::session::Session;
use crate::session::positions::ReaderPositions;
use crate::session::tail::{Opening, StartAt, Tail};

/// Opens a session of the caller's that begins here. Fails when this node takes
/// none, or no router answers.
pub(super) async fn open(gateway: &Gateway, caller: &Caller, from: StartAt) -> Result<Tail, Failure> {
    let opening = Opening {
        user: caller.user.clone(),
        device: caller.device.clone(),
        from,
        proof: caller.identity.proof.clone(),
    };
    let tail = Tail::open(&gateway.sessions, opening).await?;
    // A revocation that came since the token was verified may have missed the session.
    gateway.callers.believed.still_believe(&caller.identity.proof)?;
    Ok(tail)
}

/// The same for one-way transports, which subscribe to these channels at once.
/// `start` is where the inbox is read, and what its position is until a frame says
/// it.
pub(super) async fn open_with_channels(
    gateway: &Gateway,
    caller: &Caller,
    start: (StartAt, Cursor),
    channels: &[(ChannelId, Option<Seq>)],
) -> Result<(Tail, ReaderPositions), Failure> {
    let tail = open(gateway, caller, start.0).await?;
    let begun = gateway.channels.begin(&tail.session, channels).await?;
    Ok((tail, ReaderPositions::new(start.1, &begun)))
}

/// Counts a transport's session while it is open, and why it has ended: `bye` where
/// its client has gone before anything else ended it.
pub(super) struct OpenSession {
    transport: &'static str,
    session: Arc<Session>,
}

impl OpenSession {
    /// `transport` is its name in metrics.
    pub(super) fn new(transport: &'static str, session: &Arc<Session>) -> Self {
        metrics::connection(transport, 1);
        Self { transport, session: session.clone() }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        metrics::connection(self.transport, -1);
        metrics::session_ended(self.session.has_ended().unwrap_or(End::Bye));
    }
}
