//! What all one-way streams share: a session's frames as the body of an HTTP
//! response that does not end by itself. A transport adds its framing.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use proto::{Cursor, End};
use tokio::time::{Instant, sleep_until};

use super::opening::{OpenSession, open_with_channels};
use crate::accept::long_response;
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::protocol::query::Query;
use crate::session::Session;
use crate::session::expiry;
use crate::session::positions::{self, ReaderPositions};
use crate::session::tail::{StartAt, Tail};

/// How many frames are written at a time.
const BATCH: usize = 128;

/// How a transport writes frames.
pub(super) trait Framing: Send + 'static {
    /// The transport's name in metrics.
    const NAME: &'static str;
    /// The response's `Content-Type`.
    const CONTENT_TYPE: &'static str;

    /// Writes what comes before the first frame.
    fn preamble(&self, _out: &mut String) {}
    /// Writes a frame, and its cursor if it has one.
    fn frame(&self, frame: &Frame, cursor: Option<&str>, out: &mut String);
    /// Writes a sign of life that is no frame.
    fn heartbeat(&self, out: &mut String);
    /// Writes what comes after the last frame, when the session goes on
    /// elsewhere after `pause`.
    fn resumes_in(&self, _pause: Duration, _out: &mut String) {}
}

/// The query parameters in which polyfills of EventSource, which cannot set
/// headers, give the last event's id, in any case: event-source-polyfill and
/// Mercure's clients, Nchan's, and AmvTek's.
const LAST_EVENT: [&str; 4] = ["lasteventid", "last-event-id", "last_event_id", "evs_last_event_id"];

/// Where reading begins: the `Last-Event-ID` header, else its parameter, else
/// `cursor` (PROTOCOL.md §6). An empty one does not count: a client that has
/// seen no event has no id.
fn last_event<'a>(headers: &'a HeaderMap, query: &'a Query<'_>) -> Result<Option<&'a str>, Failure> {
    if let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) {
        let text = value.to_str().map_err(|_| {
            Failure::bad_request("the Last-Event-ID header must be a cursor as the server gave it")
        })?;
        return Ok(Some(text));
    }
    let mut named = LAST_EVENT.iter().filter_map(|name| query.get_in_any_case(name));
    Ok(named.find(|text| !text.is_empty()).or_else(|| query.get("cursor")))
}

/// Opens a session for a one-way stream and responds with its frames.
pub(super) async fn open<F: Framing>(
    gateway: Arc<Gateway>,
    caller: Caller,
    uri: &Uri,
    headers: &HeaderMap,
    framing: F,
) -> Result<Response, Failure> {
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let last_event = last_event(headers, &query)?;
    let starts = positions::starts(&query, last_event, gateway.config.limits.max_subscriptions)?;
    starts.iter().try_for_each(|(channel, _)| caller.identity.permissions.permit_channel(channel))?;
    // The first frame sets the inbox's cursor.
    let start = (StartAt::parse(last_event)?, Cursor::ORIGIN);
    let (tail, places) = open_with_channels(&gateway, &caller, start, &starts).await?;
    let heartbeat = gateway.config.heartbeat;
    let session = tail.session.clone();
    let open = OpenSession::new(F::NAME, &session);
    let pump = Pump { _open: open, tail, places, framing, heartbeat, begun: false, away: None };
    let body = stream::unfold(Some(pump), |pump| async move {
        let mut pump = pump?;
        let mut out = String::new();
        let more = pump.next(&mut out).await;
        let chunk = Ok::<_, std::convert::Infallible>(Bytes::from(out));
        Some((chunk, more.then_some(pump)))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(F::CONTENT_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // nginx buffers responses, unless it is told not to.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok(long_response::endless((headers, Body::from_stream(body)).into_response(), session))
}

struct Pump<F> {
    tail: Tail,
    places: ReaderPositions,
    framing: F,
    heartbeat: Duration,
    begun: bool,
    /// When the client was told to reconnect elsewhere.
    away: Option<Instant>,
    _open: OpenSession,
}

impl<F: Framing> Pump<F> {
    /// Writes the next frames. Returns false after the last ones. For a slow
    /// reader this is not called, so nothing is taken from its session.
    async fn next(&mut self, out: &mut String) -> bool {
        if !self.begun {
            self.begun = true;
            self.framing.preamble(out);
        }
        let beat = Instant::now() + self.heartbeat;
        let mut frames = Vec::new();
        loop {
            // One timer for both, since each needs memory.
            let tick = beat.min(expiry::of(&self.tail.session));
            tokio::select! {
                biased;
                next = self.tail.next(&mut frames, BATCH) => {
                    for frame in &frames {
                        let cursor = self.places.pass(frame);
                        self.framing.frame(frame, cursor, out);
                        if let Frame::Goaway(_, Some(milliseconds)) = frame {
                            self.away = Some(Instant::now() + Duration::from_millis(*milliseconds));
                        }
                    }
                    if let Err(end) = next {
                        if let (End::Shutdown, Some(at)) = (end, self.away) {
                            let pause = at.saturating_duration_since(Instant::now());
                            self.framing.resumes_in(pause, out);
                        }
                        return false;
                    }
                    return true;
                }
                // One-way streams end with their token.
                () = sleep_until(tick) => {
                    expiry::check(&self.tail.session);
                    if Instant::now() >= beat {
                        self.framing.heartbeat(out);
                        return true;
                    }
                }
            }
        }
    }
}

impl long_response::Source for Session {
    fn is_over(&self) -> bool {
        // Nobody else checks the time meanwhile.
        expiry::check(self);
        self.is_over()
    }

    fn lost(&self) {
        self.end(End::HeartbeatMissed);
    }
}
