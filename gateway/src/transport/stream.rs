//! HTTP streaming: one frame on each line (NDJSON), for readers with `fetch`,
//! XHR or curl.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::get;

use super::pump::{self, Framing};
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::protocol::query::Query;

/// The most blanks at the beginning (`pad`).
pub(crate) const MAX_PAD: u64 = 65_536;

/// `GET /v1/stream`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/stream", get(open))
}

async fn open(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let pad = query.number("pad", MAX_PAD)?.unwrap_or(0);
    let lines = Lines { pad: usize::try_from(pad).expect("the limit is small") };
    pump::open(gateway, caller, &uri, &headers, lines).await
}

struct Lines {
    pad: usize,
}

impl Framing for Lines {
    const NAME: &'static str = "stream";
    const CONTENT_TYPE: &'static str = "application/x-ndjson";

    fn preamble(&self, out: &mut String) {
        if self.pad > 0 {
            out.extend(std::iter::repeat_n(' ', self.pad));
            out.push('\n');
        }
    }

    fn frame(&self, frame: &Frame, cursor: Option<&str>, out: &mut String) {
        frame.write_json_at(out, cursor);
        out.push('\n');
    }

    fn heartbeat(&self, out: &mut String) {
        out.push('\n');
    }
}
