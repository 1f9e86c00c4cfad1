//! What is spoken inside another protocol's framing. Engine.IO and SockJS know
//! packets, polls, upgrades and close frames; what their messages mean is behind
//! [`Inside`]: Switchboard's commands and frames in the gateway, an echo in
//! `conformance`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use proto::{End, UserId};

use crate::accept::TooManySessions;

/// One message of a framing, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes. SockJS has none.
    Binary(Bytes),
}

impl Message {
    /// Bytes of its content.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// Messages of a client's that the exchange has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// In their order.
    pub(super) messages: VecDeque<Message>,
    /// Bytes that the exchange was told of ([`Exchange::hold`]).
    pub(super) held: usize,
}

/// Begins an exchange with each client. Called by many requests at once.
#[async_trait]
pub trait Inside: Send + Sync + 'static {
    /// A client has come with this request; its extensions have the peer's
    /// address (`ConnectInfo<SocketAddr>`). Until this returns the client has no
    /// answer, and what it may have sent is not read.
    async fn open(&self, request: &Parts) -> Result<Box<dyn Exchange>, Refusal>;
}

/// The exchange with one client. The framing drives it: it is asked whenever the
/// client can take or has sent something, and never does anything on its own.
/// Dropped when the framing has lost its client.
///
/// Two tasks may ask at the same time, one for each direction (a poll and a POST),
/// one after the other under a lock: [`Exchange::poll_ready`] and
/// [`Exchange::poll_say`] each wake the task that asked the same last. What one
/// makes possible for the other wakes the other.
pub trait Exchange: Send + 'static {
    /// Waits until it takes one more message. While too much of what it has heard
    /// is not done yet, the client waits.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// One message of the client's, after [`Exchange::poll_ready`] was ready. An
    /// error closes the connection at once.
    fn hear(&mut self, message: Message) -> Result<(), Close>;

    /// Waits for what the client is told next, and appends to `out` at least one
    /// message and about `most`; only a message that consists of several (a packet
    /// and its attachments) exceeds it, and is never divided. An error comes after
    /// the last message. The framing asks only when the client can take something.
    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Message>,
        most: usize,
    ) -> Poll<Result<(), Close>>;

    /// So many bytes of the client's are held now that are not heard yet: of a
    /// message that is not whole, or that must wait. Refused when there is no room
    /// for them; then the framing closes.
    fn hold(&mut self, _bytes: usize) -> Result<(), Refusal> {
        Ok(())
    }

    /// Waits until only the end is left to be told, while the client takes nothing.
    fn poll_over(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// The framing has lost its client, which is silent or takes nothing. Returns what
    /// that client is told, should it hear it after all. Nothing is asked of the
    /// exchange any more.
    fn lose(&mut self) -> Close {
        Close::of(End::HeartbeatMissed)
    }
}

/// Why no exchange begins: the status and the text of the framing's own answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status of the response.
    pub status: StatusCode,
    /// For a person.
    pub message: String,
    /// Seconds (`Retry-After`), where waiting helps.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// For a client whose address has as many sessions as it may.
    pub(super) fn too_many_sessions(_: TooManySessions) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: TooManySessions::TEXT.to_owned(),
            retry_after: Some(TooManySessions::RETRY_AFTER),
        }
    }

    /// For a request of another node's session, where as many are passed on as may.
    pub(super) fn too_much_passed_on() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "as many requests are passed on to other nodes as can be".to_owned(),
            retry_after: Some(1),
        }
    }
}

/// The end of an exchange from the server's side. A framing whose close frame has
/// no room for it leaves it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// As in WebSocket's registry of close codes; 3000 and above are free to use.
    pub code: u16,
    /// For a person, at most 123 bytes.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// With a reason that is known beforehand.
    pub const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// Of a session that ends so.
    pub(super) fn of(end: End) -> Self {
        Self::new(end.close_code(), end.as_str())
    }
}

/// What is inside sessions whose names their clients have chosen (SockJS).
#[async_trait]
pub trait Host: Inside {
    /// Who makes this request. Asked of each that is for a session by name: clients
    /// choose the names, and only who has opened a session may continue it. What it
    /// finds out may be left in the request's extensions for [`Inside::open`].
    async fn owner(&self, request: &mut Parts) -> Result<UserId, Refusal>;
}
