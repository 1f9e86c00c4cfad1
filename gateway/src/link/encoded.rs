//! A request as bytes, ready to be sent.

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{Request, request};

/// Names a request on its way to a router and back. Ids grow: a later request has a
/// greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RequestId(pub(super) u64);

/// A request that is encoded once, however often it is sent.
#[derive(Debug, Clone)]
pub(super) struct EncodedRequest {
    pub(super) id: RequestId,
    /// Whether it leaves at once, instead of waiting for other requests.
    pub(super) urgent: bool,
    pub(super) bytes: Bytes,
}

impl From<Request> for EncodedRequest {
    fn from(request: Request) -> Self {
        Self {
            id: RequestId(request.id),
            urgent: !matches!(request.command, Some(request::Command::Ack(_))),
            bytes: request.encode_to_vec().into(),
        }
    }
}
