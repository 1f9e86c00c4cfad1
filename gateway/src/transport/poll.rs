//! Polling (PROTOCOL.md §6): responds with the events after a cursor, at once
//! (`wait=0`, which needs no session) or when there are some. A poll that may
//! wait attaches like any other session, and leaves the session to the next
//! poll.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::future::try_join_all;
use prost::Message as _;
use proto::json::MAX_NUMBER;
use proto::limits;
use proto::weight::PAGE;
use proto::wire::{self, ResetReason as WireReset, client};
use proto::{Bound, Cursor, End, Position, ResetReason};
use tokio::time::{Instant, sleep_until};

use crate::accept::{Client, long_response};
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::metrics;
use crate::protocol::binary::{self, accepts_protobuf};
use crate::protocol::event::Event;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::protocol::query::Query;
use crate::session;
use crate::session::expiry;
use crate::session::later_release::passed_over;
use crate::session::positions::{self, ReaderPositions, Starts};
use crate::session::receipts;
use crate::session::tail::{StartAt, Tail, acknowledge, page, place_only, resolve};
use crate::transport::script;
use proto::Class;

/// The most seconds that a poll waits: several proxies give up on a response
/// after 50 s.
pub const MAX_WAIT: u64 = 45;
/// The seconds that a poll waits by default.
pub(crate) const DEFAULT_WAIT: u64 = 25;
/// The most events of one response.
pub(crate) const MAX_EVENTS: u64 = limits::MAX_EVENTS as u64;
/// The events of one response by default.
pub(crate) const DEFAULT_EVENTS: u64 = 100;

/// How many channels are read at once for one poll.
const AT_ONCE: usize = 8;

/// `GET /v1/poll`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/poll", get(poll))
}

struct Poll {
    from: StartAt,
    channels: Starts,
    wait: Duration,
    limit: usize,
    form: Form,
}

/// How an answer is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
    /// JSON that a script gives to this function of its page (JSONP).
    Script(String),
}

impl Form {
    fn parse(query: &Query<'_>, headers: &HeaderMap) -> Result<Self, Failure> {
        if let Some(callback) = query.get("callback") {
            script::check_callback(callback)?;
            return Ok(Self::Script(callback.to_owned()));
        }
        Ok(if accepts_protobuf(headers) { Self::Protobuf } else { Self::Json })
    }

    fn content_type(&self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => binary::CONTENT_TYPE,
            Self::Script(_) => "text/javascript; charset=utf-8",
        }
    }

    /// JSON in this form.
    fn body(&self, json: String) -> Vec<u8> {
        let Self::Script(callback) = self else { return json.into_bytes() };
        // The comment keeps the first bytes from being a caller's choice.
        let mut out = format!("/**/{callback}(");
        script::escape(&json, &mut out);
        out.push_str(");");
        out.into_bytes()
    }
}

impl Poll {
    fn parse(query: &Query<'_>, headers: &HeaderMap, most_channels: usize) -> Result<Self, Failure> {
        let limit = query.number("limit", MAX_EVENTS)?.unwrap_or(DEFAULT_EVENTS);
        if limit == 0 {
            return Err(Failure::bad_request(format!(
                "`limit` must be a whole number from 1 to {MAX_EVENTS}"
            )));
        }
        let wait = query.number("wait", MAX_NUMBER)?.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT);
        Ok(Self {
            from: StartAt::parse(query.get("cursor"))?,
            channels: positions::starts(query, query.get("cursor"), most_channels)?,
            wait: Duration::from_secs(wait),
            limit: usize::try_from(limit).expect("the limit is small"),
            form: Form::parse(query, headers)?,
        })
    }
}

async fn poll(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    client: Option<Extension<Client>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let poll = Poll::parse(&query, &headers, gateway.config.limits.max_subscriptions)?;
    poll.channels.iter().try_for_each(|(channel, _)| caller.identity.permissions.permit_channel(channel))?;
    if matches!(poll.form, Form::Script(_)) && !gateway.config.origins.any() {
        // A script's request names no origin, and any page may load it.
        return Err(Failure::forbidden(
            "`callback` is not served here: only pages of some origins may use this server",
        ));
    }
    let until = Instant::now() + poll.wait;
    // The first poll only returns where reading starts.
    let first = poll.from == StartAt::Head;
    let start = match poll.from {
        StartAt::Cursor(cursor) => {
            // A session that goes on was not opened with this cursor, so it is
            // acknowledged here.
            acknowledge(&gateway.sessions, &caller.user, &caller.device, cursor, Box::new(|_| {}));
            cursor
        }
        from => {
            let attached = resolve(&gateway.sessions, &caller.user, place_only(&caller.device, from)).await?;
            attached.start.unwrap_or_default().into()
        }
    };
    let known = KnownTags::of(&headers);
    if !first && !poll.wait.is_zero() {
        // As it was given: it may have the seqs of channels.
        let given = query.get("cursor").filter(|text| *text != "start").map(str::to_owned);
        return Ok(long_response::deferred(async move {
            let waited = match sent_away(&gateway, &caller) {
                Some(goaway) => {
                    let cursor = given.unwrap_or_else(|| start.to_string());
                    Ok(Events::goodbye(&goaway, cursor, &poll.form))
                }
                None => wait(&gateway, caller, client.as_deref(), start, &poll, until).await,
            };
            match waited {
                Ok(events) => answer(&known, events),
                Err(failure) => failure.into_response(),
            }
        }));
    }
    let begun = gateway.channels.positions(&caller.user, &poll.channels).await?;
    let mut places = ReaderPositions::new(start, &begun);
    let mut frames = Vec::new();
    if !first {
        frames = read(&gateway, &caller, start, poll.limit).await?;
        read_channels(&gateway, &caller, &places, poll.limit, &mut frames).await?;
    }
    let events = Events::write(&frames, &mut places, &poll.form);
    // The response is there already, but as a long response the idle connection
    // costs less until the next poll.
    Ok(long_response::deferred(ready(answer(&known, events))))
}

/// Reads the events that are there after `start`.
async fn read(
    gateway: &Gateway,
    caller: &Caller,
    start: Cursor,
    limit: usize,
) -> Result<Vec<Frame>, Failure> {
    let mut after = start;
    loop {
        let query = wire::ReadInbox {
            after: Some(after.into()),
            limit: u32::try_from(limit).expect("the limit is small"),
            session: String::new(),
            device: caller.device.to_string(),
            ..wire::ReadInbox::default()
        };
        let page = page(&gateway.sessions, &caller.user, query).await?;
        if page.reset() != WireReset::None {
            let reason: Option<ResetReason> = page.reset().into();
            let restart = Cursor::from(page.restart.unwrap_or_default());
            return Ok(reason.map(|reason| Frame::Reset(reason, restart)).into_iter().collect());
        }
        let before = after;
        let mut frames = Vec::with_capacity(page.events.len());
        for filed in page.events {
            let event = Event::from(filed.event.unwrap_or_default());
            let position = Position(filed.position);
            after = event.cursor(position);
            // Damaged events are skipped.
            if event.is_nothing() {
                passed_over(&event);
            } else {
                frames.push(Frame::Event(position, Arc::new(event)));
            }
        }
        // A page of damaged events only is skipped.
        if !frames.is_empty() || after.position.0 >= page.head || after == before {
            return Ok(frames);
        }
    }
}

/// Reads the channels after their seqs, while there is room.
async fn read_channels(
    gateway: &Gateway,
    caller: &Caller,
    places: &ReaderPositions,
    limit: usize,
    frames: &mut Vec<Frame>,
) -> Result<(), Failure> {
    let mut load = Bound::new(PAGE.bytes, limit).load();
    frames.iter().for_each(|frame| load.take(frame.weight(), 1));
    let channels: Vec<_> = places.channels().map(|(channel, after)| (channel.clone(), after)).collect();
    for some in channels.chunks(AT_ONCE) {
        let room = u32::try_from(limit.saturating_sub(load.entries())).unwrap_or(u32::MAX);
        if load.is_full() {
            // The next poll continues here.
            break;
        }
        let pages = some.iter().map(|(channel, after)| {
            gateway.channels.page(&caller.user, channel, *after, room.min(crate::channels::PAGE))
        });
        for ((channel, after), page) in some.iter().zip(try_join_all(pages).await?) {
            let of_page = page.frames(channel, *after).into_iter();
            frames.extend(of_page.take_while(|frame| load.add(frame.weight())));
        }
    }
    Ok(())
}

/// The goodbye for a poll that cannot wait here: its device was kicked since
/// the last poll, or this node takes no sessions any more.
fn sent_away(gateway: &Gateway, caller: &Caller) -> Option<Frame> {
    if gateway.sessions.lingering.was_kicked(&caller.user, &caller.device) {
        return Some(Frame::Goaway(End::Kicked, session::reconnect_in_ms(End::Kicked)));
    }
    // Polls come at different times, so nothing needs to be spread.
    gateway.context.draining.is_cancelled().then_some(Frame::Goaway(End::Shutdown, Some(0)))
}

/// Waits, as a session, for an event after `start` or for the session's end,
/// which is returned as the last event.
async fn wait(
    gateway: &Arc<Gateway>,
    caller: Caller,
    client: Option<&Client>,
    start: Cursor,
    poll: &Poll,
    until: Instant,
) -> Result<Events, Failure> {
    let limit = poll.limit;
    let lingering = gateway.sessions.lingering.take(&caller.user, &caller.device, start, &poll.channels);
    // Whether the frames are still those with which a new session begins.
    let mut resuming = lingering.is_none();
    let (mut tail, mut places) = match lingering {
        Some((tail, places)) => {
            gateway.sessions.renew(&tail.session, caller.identity.proof.clone());
            (tail, places)
        }
        // Boxed: its memory is not needed while the poll waits.
        None => Box::pin(begin(gateway, caller, start, poll)).await?,
    };
    let _open = OpenPoll::new();
    let mut frames = Vec::new();
    let mut end = None;
    let mut answers = false;
    // When a client of a stopping node should have left.
    let mut away: Option<Instant> = None;
    // A new session begins with `welcome`, which a poll does not return.
    let mut welcome = usize::from(resuming);
    while !answers && frames.len() < limit && end.is_none() {
        // The timer is also for a token that ends while the poll waits: one
        // timer for both, since each needs memory. A session that has ended
        // waits to be told.
        let expires = expiry::of(&tail.session);
        let tick = if tail.session.has_ended().is_some() { expires } else { until.min(expires) };
        let tick = away.map_or(tick, |at| at.min(tick));
        let room = limit - frames.len() + std::mem::take(&mut welcome);
        tokio::select! {
            biased;
            next = tail.next(&mut frames, room) => end = next.err(),
            () = sleep_until(tick) => {
                expiry::check(&tail.session);
                if away.is_some_and(|at| at <= Instant::now()) {
                    // The client cannot leave before it gets the response.
                    tail.session.end(End::Shutdown);
                } else if Instant::now() >= until && tail.session.has_ended().is_none() {
                    break;
                }
            }
        }
        // A poll returns no `welcome`. A stopping node answers its polls when
        // their wait is over: they lose nothing by waiting here.
        frames.retain(|frame| match frame {
            Frame::Goaway(End::Shutdown, Some(milliseconds)) => {
                away = Some(Instant::now() + Duration::from_millis(*milliseconds));
                false
            }
            frame => !matches!(frame, Frame::Welcome(_)),
        });
        // Marks move no cursor. Polls that begin on one node after another
        // would each return at once with the marks of their resume. So a poll
        // with nothing but marks waits.
        let only_marks = frames.iter().all(|frame| matches!(frame, Frame::Receipt(_)));
        answers = !(frames.is_empty() || resuming && only_marks);
        resuming &= !tail.session.is_live();
    }
    if let (Some(End::Shutdown), Some(at)) = (end, away) {
        let left = at.saturating_duration_since(Instant::now());
        frames.push(Frame::Goaway(End::Shutdown, Some(u64::try_from(left.as_millis()).unwrap_or(0))));
    }
    receipts::leave_room(&mut frames, limit);
    let events = Events::write(&frames, &mut places, &poll.form);
    if tail.session.has_ended().is_none() && !gateway.context.draining.is_cancelled() {
        // Without room for it its next poll begins another session.
        if let Ok(slot) = Client::session(client) {
            gateway.sessions.lingering.park(tail, places, slot);
        }
    }
    Ok(events)
}

/// A new session for a poll.
async fn begin(
    gateway: &Arc<Gateway>,
    caller: Caller,
    start: Cursor,
    poll: &Poll,
) -> Result<(Tail, ReaderPositions), Failure> {
    gateway.callers.rates.enter(caller.payer(), Class::Attach, 1).await?;
    super::opening::open_with_channels(gateway, &caller, (StartAt::Cursor(start), start), &poll.channels)
        .await
}

/// Counts a poll while it waits.
struct OpenPoll;

impl OpenPoll {
    fn new() -> Self {
        metrics::connection("poll", 1);
        Self
    }
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        metrics::connection("poll", -1);
    }
}

/// The body of a response.
struct Events {
    body: Vec<u8>,
    /// The cursor for the next poll.
    cursor: String,
    empty: bool,
    content_type: &'static str,
}

impl Events {
    /// Writes the frames, each with the reader's place after it.
    fn write(frames: &[Frame], places: &mut ReaderPositions, form: &Form) -> Self {
        let empty = frames.is_empty();
        if *form == Form::Protobuf {
            let message = |frame| binary::message_at(frame, places.pass(frame));
            let events = frames.iter().map(message).collect();
            let cursor = places.cursor().to_owned();
            let body = client::Poll { events, cursor: cursor.clone() }.encode_to_vec();
            return Self { body, cursor, empty, content_type: form.content_type() };
        }
        let mut body = String::from(r#"{"events":["#);
        for (index, frame) in frames.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            frame.write_json_at(&mut body, places.pass(frame));
        }
        let cursor = places.cursor().to_owned();
        body.push_str(&format!(r#"],"cursor":"{cursor}"}}"#));
        Self { body: form.body(body), cursor, empty, content_type: form.content_type() }
    }

    /// Writes a goodbye; the next poll goes on where this one began.
    fn goodbye(frame: &Frame, cursor: String, form: &Form) -> Self {
        if *form == Form::Protobuf {
            let events = vec![binary::message_at(frame, None)];
            let body = client::Poll { events, cursor: cursor.clone() }.encode_to_vec();
            return Self { body, cursor, empty: false, content_type: form.content_type() };
        }
        let body = format!(r#"{{"events":[{}],"cursor":"{cursor}"}}"#, frame.to_json());
        Self { body: form.body(body), cursor, empty: false, content_type: form.content_type() }
    }
}

/// The tags that the client knows (`If-None-Match`), as copies, so that a
/// waiting poll keeps nothing of its request.
struct KnownTags(Vec<String>);

impl KnownTags {
    fn of(headers: &HeaderMap) -> Self {
        let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
        Self(lists.map(str::to_owned).collect())
    }

    /// Weak comparison (RFC 9110 §13.1.2).
    fn has(&self, tag: &str) -> bool {
        let tags = self.0.iter().flat_map(|list| list.split(','));
        tags.map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*")
    }
}

fn answer(known: &KnownTags, events: Events) -> Response {
    let tag = format!("\"{}\"", events.cursor);
    let etag = HeaderValue::from_str(&tag).expect("a cursor is visible ASCII");
    let cache = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if events.empty && known.has(&tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag), cache]).into_response();
    }
    let vary = (header::VARY, HeaderValue::from_static("accept"));
    let form = (header::CONTENT_TYPE, HeaderValue::from_static(events.content_type));
    ([(header::ETAG, etag), cache, vary, form], events.body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_asks_for_more_waits_as_long_as_proxies_let_it() {
        let wait = |query| {
            let query = Query::parse(query).unwrap();
            Poll::parse(&query, &HeaderMap::new(), 1).map(|poll| poll.wait.as_secs())
        };
        for (query, seconds) in
            [("", 25), ("wait=0", 0), ("wait=45", 45), ("wait=46", 45), ("wait=86400", 45)]
        {
            assert_eq!(wait(query).unwrap(), seconds, "{query}");
        }
        assert!(wait("wait=-1").is_err() && wait("wait=soon").is_err());
    }

    #[test]
    fn a_script_calls_what_the_page_names_with_what_the_poll_says() {
        let form = |query| Form::parse(&Query::parse(query).unwrap(), &HeaderMap::new());
        let script = form("callback=page.on_events").unwrap();
        assert_eq!(script.content_type(), "text/javascript; charset=utf-8");
        let body = String::from_utf8(script.body(r#"{"a":"</script>"}"#.to_owned())).unwrap();
        assert_eq!(body, r#"/**/page.on_events({"a":"\u003c/script\u003e"});"#);
        assert_eq!(form("").unwrap(), Form::Json);
        for query in ["callback=", "callback=9x", "callback=a(b)", "callback=alert%281%29"] {
            assert!(form(query).is_err(), "{query}");
        }
    }
}
