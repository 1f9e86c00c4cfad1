//! Refuses connections and requests for which there is no slot. A connection is
//! answered and closed. The refusal first reads the request if that comes soon, so that the peer sees the
//! response and not a reset, and an EventSource gets one that it can handle.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Uri, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::browser::{NO_SNIFF, POLICY};
use crate::accept::busy::{self, EVENT_STREAM};
use crate::protocol::failure::Failure;

/// The path at which an EventSource asks.
const EVENTS: &str = "/v1/sse";
/// How many connections may wait for their request at once. Further ones are
/// refused without reading.
const AT_ONCE: usize = 64;
/// How long to wait for the request.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most bytes read of it: more than its first line, and most complete
/// heads.
const HEAD: usize = 4_096;
/// The `Retry-After` of the refusal.
const PAUSE: Duration = Duration::from_secs(1);

/// Refuses connections.
#[derive(Debug)]
pub(super) struct Refusals(Arc<Semaphore>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Refusals {
    /// A permit to wait for the request. `None`: it was refused already.
    pub(super) fn turn(&self, stream: &TcpStream) -> Option<OwnedSemaphorePermit> {
        let turn = self.0.clone().try_acquire_owned().ok();
        if turn.is_none() {
            // Without waiting: a new socket's send buffer is empty. If even
            // this short text does not fit, the peer only sees the close.
            let _ = stream.try_write(refusal().as_bytes());
        }
        turn
    }
}

/// Responds and closes.
pub(super) async fn answer(mut stream: TcpStream, _turn: OwnedSemaphorePermit) {
    // Whatever goes wrong, the peer is refused.
    let _ = timeout(PATIENCE, async {
        let head = read_head(&mut stream).await.unwrap_or_default();
        let answer = if asks_for_events(&head) { event_stream() } else { refusal() };
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
}

/// Reads up to the end of a request's head.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    // A slow peer gets the response nevertheless.
    let _ = timeout(PATIENCE / 2, async {
        while head.len() < HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    })
    .await;
    Ok(head)
}

fn asks_for_events(head: &[u8]) -> bool {
    let path = head.strip_prefix(b"GET ").and_then(|rest| rest.strip_prefix(EVENTS.as_bytes()));
    path.is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'?')))
}

/// Refuses a request because its client's address has as many under way as it
/// may. Nothing has been done for it.
pub(super) async fn of_request(uri: &Uri) -> Response {
    let message = "as many requests of this address are under way as may be";
    let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
    let mut response = Failure::rate_limited(message, pause).into_response();
    if uri.path() == EVENTS {
        response = busy::soften(response).await;
    }
    // As for `event_stream`.
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn refusal() -> String {
    const BODY: &str = r#"{"code":"unavailable","message":"too many connections"}"#;
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: {}\r\nx-content-type-options: {NO_SNIFF}\r\ncontent-security-policy: {POLICY}\r\n\
         connection: close\r\n\r\n{BODY}",
        BODY.len(),
        PAUSE.as_secs()
    )
}

/// Readable for pages of any origin: it contains nothing, and an EventSource
/// that may not read it would stop for ever.
fn event_stream() -> String {
    let body = busy::come_back_after(PAUSE);
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {EVENT_STREAM}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         access-control-allow-origin: *\r\nx-content-type-options: {NO_SNIFF}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_events_is_one() {
        assert!(
            asks_for_events(b"GET /v1/sse HTTP/1.1\r\n") && asks_for_events(b"GET /v1/sse?token=x HTTP/1.1")
        );
        for head in [&b""[..], b"GET /v1/ssex", b"GET /v1/poll", b"POST /v1/sse HTTP/1.1"] {
            assert!(!asks_for_events(head), "{head:?}");
        }
    }
}
