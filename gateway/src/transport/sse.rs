//! Server-sent events (WHATWG HTML §9.2): the frame's type as `event`, its
//! cursor as `id`, so that a bare EventSource resumes by itself.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use proto::End;

use super::pump::{self, Framing};
use crate::accept::busy;
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;

/// Milliseconds after which a cut EventSource reconnects.
const RETRY_MS: u64 = 1_000;
/// The same for one that must not reconnect by itself: a day, since "never"
/// cannot be said.
const NEVER_MS: u64 = 24 * 60 * 60 * 1_000;
/// The same when the session ends at its own time, since sessions end one after
/// another, and goes on elsewhere.
const AT_ONCE_MS: u64 = 50;

/// `GET /v1/sse`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/sse", get(open).layer(middleware::map_response(busy::soften)))
}

async fn open(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    pump::open(gateway, caller, &uri, &headers, Events).await
}

struct Events;

impl Framing for Events {
    const NAME: &'static str = "sse";
    const CONTENT_TYPE: &'static str = busy::EVENT_STREAM;

    fn frame(&self, frame: &Frame, cursor: Option<&str>, out: &mut String) {
        let _ = writeln!(out, "event: {}", frame.kind());
        if let Some(milliseconds) = retry(frame) {
            let _ = writeln!(out, "retry: {milliseconds}");
        }
        if let Some(cursor) = cursor {
            let _ = writeln!(out, "id: {cursor}");
        }
        // A frame has no line breaks: those between a body's tokens were
        // replaced by blanks, and JSON escapes those in strings.
        out.push_str("data: ");
        frame.write_json_at(out, cursor);
        out.push_str("\n\n");
    }

    /// A comment that ends no block: with an empty line after it some parsers
    /// would see an event without data.
    fn heartbeat(&self, out: &mut String) {
        out.push_str(":\n");
    }

    /// Replaces the time that `goaway` gave, which has passed meanwhile. It is
    /// read although no block ends here: `retry` counts at the end of its line.
    fn resumes_in(&self, pause: Duration, out: &mut String) {
        let pause = u64::try_from(pause.as_millis()).unwrap_or(RETRY_MS);
        let _ = writeln!(out, "retry: {}", pause.max(AT_ONCE_MS));
    }
}

/// The `retry` for an EventSource, with the frame that changes it. An
/// EventSource does not know `goaway`, but follows `retry`.
fn retry(frame: &Frame) -> Option<u64> {
    match frame {
        Frame::Welcome(_) => Some(RETRY_MS),
        // It reconnects at once and is refused because of its old token: its
        // page must handle that.
        Frame::Goaway(End::TokenExpired, _) => None,
        Frame::Goaway(_, reconnect_in_ms) => Some(reconnect_in_ms.unwrap_or(NEVER_MS)),
        _ => None,
    }
}
