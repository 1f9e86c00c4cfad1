//! Requests of sessions that another gateway has, for framings whose clients come
//! back to any. The one place that passes them on.

use std::future::ready;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use futures_util::StreamExt as _;

use crate::accept::Upgrade;
use crate::accept::long_response::{self, Source};
use crate::peer::{Opened, Relay, Relayed, Unreached, apart, pipe};
use crate::transport::websocket::handshake;

/// How a response comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    /// In one piece, perhaps late.
    Whole,
    /// Bit by bit, for as long as the session has something to say.
    Streaming,
}

/// Whether a request has come from another gateway already: nobody passes it on
/// again.
pub(super) fn is_relayed(extensions: &http::Extensions) -> bool {
    extensions.get::<Relayed>().is_some()
}

/// Passes a request or a WebSocket on to this node, and its response back.
/// `refused` is what is answered where that fails.
pub(super) async fn pass_on(
    relay: &Arc<Relay>,
    node: &str,
    mut request: Request,
    comes: Comes,
    refused: impl Fn(Unreached) -> Response + Send + Sync + 'static,
) -> Response {
    if let Ok((upgrade, accept)) = handshake::accept(&mut request) {
        let parts = request.into_parts().0;
        return match relay.open(node, &parts).await {
            Ok(Ok(opened)) => {
                relay.tracker().spawn(carry(upgrade, opened));
                handshake::answer(accept, None)
            }
            Ok(Err(response)) => response,
            Err(unreached) => refused(unreached),
        };
    }
    let has_body = !request.body().is_end_stream();
    if has_body || comes == Comes::Streaming {
        return match relay.pass(node, request).await {
            Ok(response) if comes == Comes::Streaming => {
                long_response::endless(response.map(ends), Arc::new(Elsewhere))
            }
            Ok(response) => response,
            Err(unreached) => refused(unreached),
        };
    }
    let Some(request) = apart(&request.into_parts().0) else { return refused(Unreached::Gone) };
    let (relay, node) = (relay.clone(), node.to_owned());
    long_response::deferred(async move { relay.pass(&node, request).await.unwrap_or_else(refused) })
}

/// A body that comes to its end where it breaks off. Its client takes whole frames
/// alone, asks for more, and so hears what has become of its session; some clients do
/// not notice that a connection broke in the middle of a response.
fn ends(body: Body) -> Body {
    Body::from_stream(body.into_data_stream().take_while(|piece| ready(piece.is_ok())))
}

/// The other node says when it is over.
struct Elsewhere;

impl Source for Elsewhere {
    fn is_over(&self) -> bool {
        false
    }
}

async fn carry(upgrade: Upgrade, Opened { upgraded, passing }: Opened) {
    // Otherwise the client has gone before it was answered.
    if let Ok(client) = upgrade.begun().await {
        pipe::join(client.stream, upgraded, passing).await;
        drop(client.open);
    }
}
