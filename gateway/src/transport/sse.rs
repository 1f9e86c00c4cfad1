//! Server-sent events (WHATWG HTML §9.2): the frame's type as `event`, its
//! cursor as `id`, so that a bare EventSource resumes by itself.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::get;

use super::pump::{self, Framing};
use crate::credentials::Caller;
use crate::failure::Failure;
use crate::frame::Frame;
use crate::gateway::Gateway;

/// Milliseconds after which an EventSource that was cut off comes back.
const RETRY_MS: u32 = 1_000;

/// `GET /v1/sse`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/sse", get(open))
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
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn preamble(&self, out: &mut String) {
        let _ = write!(out, "retry: {RETRY_MS}\n\n");
    }

    fn frame(&self, frame: &Frame, cursor: Option<&str>, out: &mut String) {
        let _ = writeln!(out, "event: {}", frame.kind());
        if let Some(cursor) = cursor {
            let _ = writeln!(out, "id: {cursor}");
        }
        // A frame has no line break: those between tokens of a body have been
        // made blanks, and in strings JSON escapes them.
        out.push_str("data: ");
        frame.write_json_at(out, cursor);
        out.push_str("\n\n");
    }

    fn heartbeat(&self, out: &mut String) {
        out.push_str(":\n\n");
    }
}
