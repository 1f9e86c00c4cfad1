//! Polling (PROTOCOL.md §6): answers with the events after a cursor, at once
//! (`wait=0`, which needs no session) or when there are some. A poll that may
//! wait attaches like any other session, and leaves it for the next one.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prost::Message as _;
use proto::wire::{self, ResetReason as WireReset, client};
use proto::{Cursor, End, Position, ResetReason};
use tokio::time::{Instant, sleep_until};

use crate::binary::{self, accepts_protobuf};
use crate::credentials::Caller;
use crate::event::Event;
use crate::expiry;
use crate::failure::Failure;
use crate::frame::Frame;
use crate::gateway::Gateway;
use crate::query::Query;
use crate::tail::{Opening, StartAt, Tail, acknowledge, page, place_only, resolve};

/// Seconds that a poll may wait.
pub(crate) const MAX_WAIT: u64 = 60;
/// Seconds that a poll waits when it does not say.
pub(crate) const DEFAULT_WAIT: u64 = 25;
/// Events in one answer.
pub(crate) const MAX_EVENTS: u64 = 1_000;
/// Events in one answer when the poll does not say.
pub(crate) const DEFAULT_EVENTS: u64 = 100;

/// `GET /v1/poll`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/poll", get(poll))
}

struct Poll {
    from: StartAt,
    wait: Duration,
    limit: usize,
}

impl Poll {
    fn parse(query: &Query<'_>) -> Result<Self, Failure> {
        let limit = query.number("limit", MAX_EVENTS)?.unwrap_or(DEFAULT_EVENTS);
        if limit == 0 {
            return Err(Failure::bad_request(format!(
                "`limit` must be a whole number from 1 to {MAX_EVENTS}"
            )));
        }
        let wait = query.number("wait", MAX_WAIT)?.unwrap_or(DEFAULT_WAIT);
        Ok(Self {
            from: StartAt::parse(query.get("cursor"))?,
            wait: Duration::from_secs(wait),
            limit: usize::try_from(limit).expect("the limit is small"),
        })
    }
}

async fn poll(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let poll = Poll::parse(&Query::parse(uri.query().unwrap_or_default())?)?;
    let until = Instant::now() + poll.wait;
    // The first poll only says where reading starts.
    let first = poll.from == StartAt::Head;
    let start = match poll.from {
        StartAt::Cursor(cursor) => {
            // With a session that goes on, opening it does not say so.
            acknowledge(&gateway, &caller.user, &caller.device, cursor);
            cursor
        }
        from => {
            let attached = resolve(&gateway, &caller.user, place_only(&caller.device, from)).await?;
            attached.start.unwrap_or_default().into()
        }
    };
    let events = if first {
        Vec::new()
    } else if poll.wait.is_zero() {
        read(&gateway, &caller, start, poll.limit).await?
    } else {
        wait(&gateway, &caller, start, poll.limit, until).await?
    };
    Ok(answer(&headers, &events, start))
}

/// What there is after `start` now.
async fn read(
    gateway: &Gateway,
    caller: &Caller,
    start: Cursor,
    limit: usize,
) -> Result<Vec<Frame>, Failure> {
    let query = wire::ReadInbox {
        after: Some(start.into()),
        limit: u32::try_from(limit).expect("the limit is small"),
        session: String::new(),
        device: caller.device.to_string(),
        ..wire::ReadInbox::default()
    };
    let page = page(gateway, &caller.user, query).await?;
    if page.reset() != WireReset::None {
        let reason: Option<ResetReason> = page.reset().into();
        let restart = Cursor::from(page.restart.unwrap_or_default());
        return Ok(reason.map(|reason| Frame::Reset(reason, restart)).into_iter().collect());
    }
    let frames = page.events.into_iter().map(|filed| {
        let event = Event::from(filed.event.unwrap_or_default());
        Frame::Event(Position(filed.position), Arc::new(event))
    });
    Ok(frames.collect())
}

/// Waits for something after `start` as a session. One that another of its
/// device replaces is answered empty.
async fn wait(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    start: Cursor,
    limit: usize,
    until: Instant,
) -> Result<Vec<Frame>, Failure> {
    let mut tail = match gateway.lingering.take(&caller.user, &caller.device, start) {
        Some(tail) => {
            tail.session.renew(caller.identity.expires);
            tail
        }
        None => {
            let opening = Opening {
                user: caller.user.clone(),
                device: caller.device.clone(),
                from: StartAt::Cursor(start),
                expires: caller.identity.expires,
            };
            Tail::open(gateway, opening).await?
        }
    };
    let _open = OpenPoll::new(gateway);
    let mut frames = Vec::new();
    let mut end = None;
    while frames.is_empty() && end.is_none() {
        let expires = expiry::of(&tail.session);
        tokio::select! {
            biased;
            next = tail.next(&mut frames, limit) => end = next.err(),
            // A token that ends while its poll waits.
            () = sleep_until(expires) => expiry::check(&tail.session),
            () = sleep_until(until) => break,
        }
        // A poll carries no `welcome`, and its end is its answer.
        frames.retain(|frame| !matches!(frame, Frame::Welcome(_) | Frame::Goaway(..)));
    }
    match end {
        None => gateway.lingering.park(tail),
        Some(End::TokenExpired) if frames.is_empty() => {
            return Err(Failure::unauthorized("the token has expired"));
        }
        Some(_) => {}
    }
    Ok(frames)
}

/// Counts a waiting poll for as long as it waits.
struct OpenPoll(Arc<Gateway>);

impl OpenPoll {
    fn new(gateway: &Arc<Gateway>) -> Self {
        gateway.metrics.connection("poll", 1);
        Self(gateway.clone())
    }
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        self.0.metrics.connection("poll", -1);
    }
}

fn answer(headers: &HeaderMap, frames: &[Frame], start: Cursor) -> Response {
    let cursor = frames.iter().rev().find_map(Frame::cursor).unwrap_or(start);
    let tag = format!("\"{cursor}\"");
    let etag = HeaderValue::from_str(&tag).expect("a cursor is visible ASCII");
    let cache = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let unchanged = headers.get_all(header::IF_NONE_MATCH).iter().any(|known| matches(known, &tag));
    if frames.is_empty() && unchanged {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag), cache]).into_response();
    }
    let vary = (header::VARY, HeaderValue::from_static("accept"));
    if accepts_protobuf(headers) {
        let events = frames.iter().map(binary::message).collect();
        let body = client::Poll { events, cursor: cursor.to_string() }.encode_to_vec();
        let form = (header::CONTENT_TYPE, HeaderValue::from_static(binary::CONTENT_TYPE));
        return ([(header::ETAG, etag), cache, vary, form], body).into_response();
    }
    let mut body = String::from(r#"{"events":["#);
    for (index, frame) in frames.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        frame.write_json(&mut body);
    }
    body.push_str(&format!(r#"],"cursor":"{cursor}"}}"#));
    let form = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([(header::ETAG, etag), cache, vary, form], body).into_response()
}

/// Weak comparison of an `If-None-Match` list (RFC 9110 §13.1.2).
fn matches(known: &HeaderValue, tag: &str) -> bool {
    let Ok(list) = known.to_str() else { return false };
    list.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*")
}
