//! Polls: a GET waits for packets and is answered with all that there are, a POST
//! brings packets. At most one of each is under way for a client.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::client::{Client, Over};
use super::packet::{Packet, packets};
use super::refusal::Refusal;
use super::server::Server;
use crate::accept::body::{Ungathered, gather};
use crate::accept::long_response;

/// A request of a client that polls.
pub(super) async fn serve(
    server: Arc<Server>,
    client: Arc<Client>,
    request: Request,
) -> Result<Response, Refusal> {
    match *request.method() {
        Method::GET => poll(server, client),
        Method::POST => post(server, client, request).await,
        _ => Err(Refusal::Request),
    }
}

/// The answer to a poll, in the form that clients expect.
pub(super) fn payload(body: Bytes) -> Response {
    text("text/plain; charset=UTF-8", body)
}

fn text(kind: &'static str, body: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::OK, headers, body).into_response()
}

fn poll(server: Arc<Server>, client: Arc<Client>) -> Result<Response, Refusal> {
    if let Err(refusal) = client.begin_poll() {
        server.forget_if_over(&client);
        return Err(refusal);
    }
    let mut under_way = UnderWay { server, client, done: false };
    Ok(long_response::deferred(async move {
        let mut timer = pin!(sleep_until(Instant::now()));
        let (client, most) = (&under_way.client, under_way.server.settings.max_payload);
        let said = poll_fn(|cx| client.poll(cx, timer.as_mut(), most)).await;
        under_way.done = true;
        under_way.server.forget_if_over(&under_way.client);
        match said {
            Ok(said) => payload(said.into_bytes()),
            Err(refusal) => refusal.into_response(),
        }
    }))
}

/// A request without an answer. If it is dropped before it is answered, its client has
/// gone: packets that were taken for it are lost, and what it has sent is not whole.
struct UnderWay {
    server: Arc<Server>,
    client: Arc<Client>,
    done: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.done {
            self.server.end(&self.client, Over::Ended);
        }
    }
}

async fn post(server: Arc<Server>, client: Arc<Client>, request: Request) -> Result<Response, Refusal> {
    if let Err(refusal) = client.begin_post() {
        server.forget_if_over(&client);
        return Err(refusal);
    }
    let mut under_way = UnderWay { server, client, done: false };
    let (parts, body) = request.into_parts();
    // Bytes are sent in base64, which is longer.
    let kind = parts.headers.get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind == "application/octet-stream") {
        return Err(Refusal::Request);
    }
    let most = under_way.server.settings.max_payload;
    let heard = match gather(body, most, |bytes| under_way.client.hold(bytes)).await {
        Ok(whole) => Ok(hear(&under_way, &whole).await?),
        // No packet was taken, so the client may go on.
        Err(Ungathered::TooLarge) => Err(Refusal::TooLarge),
        Err(Ungathered::NoRoom(refusal)) => return Err(refusal),
        Err(Ungathered::Late | Ungathered::Broken) => return Err(Refusal::Request),
    };
    under_way.done = true;
    under_way.client.end_post();
    heard.map(|()| text("text/html", Bytes::from_static(b"ok")))
}

/// Hands the packets of a POST to the exchange, each when there is room for it. If the
/// client is about to upgrade, they do not wait for that ([`Client::poll_hear`]).
async fn hear(under_way: &UnderWay, body: &[u8]) -> Result<(), Refusal> {
    let UnderWay { server, client, .. } = under_way;
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Request)?;
    for packet in packets(text) {
        match packet {
            Some(Packet::Message(message)) => {
                let mut message = Some(message);
                match poll_fn(|cx| client.poll_hear(cx, &mut message)).now_or_never() {
                    Some(heard) => heard?,
                    None => {
                        client.hold(body.len())?;
                        poll_fn(|cx| client.poll_hear(cx, &mut message)).await?;
                    }
                }
            }
            Some(Packet::Pong) => client.pong(),
            Some(Packet::Close) => {
                server.end(client, Over::Left);
                return Ok(());
            }
            Some(Packet::Upgrade | Packet::Idle) => {}
            // Only the server sends `ping`.
            Some(Packet::Ping { .. }) | None => return Err(Refusal::Request),
        }
        consume_budget().await;
    }
    client.hold(0)
}
