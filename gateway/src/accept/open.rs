//! What a request holds open for its client: one of its address's slots, and its
//! place in its connection. Held until the response has ended, or the stream that
//! follows a handshake.

use std::future::ready;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::Extensions;
use hyper::body::{Frame, SizeHint};
use hyper::upgrade::OnUpgrade;

use super::activity;
use super::slots::{AddressSlot, Full, Kind, Slots};
use crate::accept::long_response;

/// On each request, where addresses have a limit: where its client is counted.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    slots: Arc<Slots>,
    address: IpAddr,
}

/// The client's address has as many sessions here as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManySessions;

impl TooManySessions {
    /// For a person.
    pub(crate) const TEXT: &'static str = "this address has as many sessions here as it may";
    /// What `Retry-After` says to a client that is refused, in seconds.
    pub(crate) const RETRY_AFTER: u64 = 1;
}

impl Client {
    pub(super) fn new(slots: &Arc<Slots>, address: IpAddr) -> Option<Self> {
        slots.has_address_limit().then(|| Self { slots: slots.clone(), address })
    }

    /// A slot for a session that outlives a request of this client. Nothing where there
    /// is no limit, or the request has come from another gateway, which has counted it.
    pub(crate) fn session(client: Option<&Self>) -> Result<Option<AddressSlot>, TooManySessions> {
        let Some(client) = client else { return Ok(None) };
        client.slots.take_of(Kind::Session, client.address).map_err(|_| TooManySessions)
    }
}

/// A request that is under way. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct OpenRequest(Arc<Guards>);

#[derive(Debug)]
struct Guards {
    _slot: Option<AddressSlot>,
    activity: Option<activity::Request>,
}

impl OpenRequest {
    /// Begins a request from this address. `None` if nothing is counted of it.
    pub(super) fn begin(
        slots: &Arc<Slots>,
        address: IpAddr,
        activity: Option<activity::Request>,
    ) -> Result<Option<Self>, Full> {
        let slot = slots.take_of(Kind::Request, address)?;
        let counts = slot.is_some() || activity.is_some();
        Ok(counts.then(|| Self(Arc::new(Guards { _slot: slot, activity }))))
    }

    /// The response is there: the request is held until it has ended.
    pub(super) async fn hold_during(self, response: Response) -> Response {
        let allowed = !(response.status().is_client_error() || response.status().is_server_error());
        if let (Some(activity), true) = (&self.0.activity, allowed) {
            activity.allow();
        }
        long_response::then(response, move |response| {
            ready(response.map(|body| Body::new(HeldBody { body, _open: self })))
        })
        .await
    }
}

/// A body, and the request that it belongs to.
struct HeldBody {
    body: Body,
    _open: OpenRequest,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The stream that follows the response to a handshake.
#[derive(Debug)]
pub(crate) struct Upgrade {
    on: OnUpgrade,
    open: Option<OpenRequest>,
}

/// That stream, once it has begun, and the request that it belongs to.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) stream: hyper::upgrade::Upgraded,
    pub(crate) open: Option<OpenRequest>,
}

impl Upgrade {
    /// Takes it from a request's extensions. `None` if the request can have none.
    pub(crate) fn take(extensions: &mut Extensions) -> Option<Self> {
        Some(Self { on: extensions.remove()?, open: extensions.remove() })
    }

    /// Waits for its beginning. Fails if the client goes before it gets the
    /// response.
    pub(crate) async fn begun(self) -> hyper::Result<Upgraded> {
        Ok(Upgraded { stream: self.on.await?, open: self.open })
    }
}
