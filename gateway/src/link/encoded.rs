//! A request in the form in which it is sent.

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{Request, request};

/// Names a request in its link and back. Of two the later one is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RequestId(pub(super) u64);

/// A request as it is sent: encoded once, however often that is.
#[derive(Debug, Clone)]
pub(super) struct EncodedRequest {
    pub(super) id: RequestId,
    /// It does not wait for company on its way.
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
