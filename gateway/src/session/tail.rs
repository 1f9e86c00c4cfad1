//! The reading end of a session, owned by its transport: returns the next
//! frames, from the outbox or from the log. Dropping it ends the session.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use daemon::Backoff;
use proto::wire::{self, Standing, reply, request};
use proto::{Cursor, DeviceId, End, Position, ResetReason, Time, UserId};

use super::{Proof, Sessions};
use crate::link::{Completion, Outcome};
use crate::metrics;
use crate::protocol::failure::Failure;
use crate::protocol::frame::{Frame, Welcome};
use crate::protocol::mark::Mark;
use crate::session::channel_page::Page;
use crate::session::{CatchUp, MarksAsked, Missing, NextStep, PageRequest, Session, Since};
use crate::session::{gathered_acks, receipts};

/// The most events of one page of catching up.
const PAGE: u32 = 100;
/// Pauses between tries while the store or every router is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Where a session or a reader begins (PROTOCOL.md §6, `cursor`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// After everything that is there now.
    Head,
    /// Before the oldest event kept.
    Oldest,
    /// After this place.
    Cursor(Cursor),
}

impl StartAt {
    /// Reads the parameter. Fails when it is no cursor.
    pub fn parse(text: Option<&str>) -> Result<Self, Failure> {
        match text {
            None => Ok(Self::Head),
            Some("start") => Ok(Self::Oldest),
            Some(text) => {
                Cursor::parse(text).map(Self::Cursor).map_err(|rule| Failure::field("cursor", &rule))
            }
        }
    }

    /// The cursor; `None` for the head. The oldest event comes after the
    /// origin.
    fn place(self) -> Option<Cursor> {
        match self {
            Self::Head => None,
            Self::Oldest => Some(Cursor::ORIGIN),
            Self::Cursor(cursor) => Some(cursor),
        }
    }

    fn wire(self) -> Option<wire::attach::From> {
        match self {
            Self::Head => None,
            Self::Oldest => Some(wire::attach::From::Start(true)),
            Self::Cursor(cursor) => Some(wire::attach::From::Cursor(cursor.into())),
        }
    }
}

/// The parameters of a new session.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The user of the session.
    pub user: UserId,
    /// The device of the session.
    pub device: DeviceId,
    /// Where reading begins.
    pub from: StartAt,
    /// What the session's token allows, and until when.
    pub proof: Arc<Proof>,
}

type Reading = Pin<Box<dyn Future<Output = (wire::InboxPage, PageRequest)> + Send>>;

/// A page of a channel that is being read.
struct ChannelReading {
    missing: Missing,
    page: Pin<Box<dyn Future<Output = Page> + Send>>,
}

/// A session's reading end.
pub struct Tail {
    /// The session.
    pub session: Arc<Session>,
    sessions: Arc<Sessions>,
    /// A page that is being read; kept when an answer comes first.
    reading: Option<Reading>,
    /// The same for the channel in which the session is behind. Only a pointer,
    /// since most sessions never need it.
    channel: Option<Box<ChannelReading>>,
}

impl Tail {
    /// Attaches a new session: it is added to the hub first and then written to
    /// its user's record, so that no event is missed. When many attach at once
    /// they wait in line. Fails when no router answers, or the node takes no
    /// sessions.
    pub async fn open(sessions: &Arc<Sessions>, opening: Opening) -> Result<Self, Failure> {
        let Opening { user, device, from, proof } = opening;
        let session = Arc::new(Session::new(user, device, proof, sessions.config.queue));
        let tail =
            Self { session: session.clone(), sessions: sessions.clone(), reading: None, channel: None };
        sessions.hub.add(session.clone());
        if !sessions.takes_sessions() {
            // Checked only now, when a drain would find the session.
            return Err(Failure::unavailable("this node takes no sessions at the moment"));
        }
        let asked = session.begin_first_page(from.place());
        let store = sessions.store();
        let mut attached = attach(sessions, &session, from).await?;
        let start = Cursor::from(attached.start.unwrap_or_default());
        match from {
            StartAt::Cursor(cursor) if !attached.acknowledged => {
                let begun = session.clone();
                let answered = move |outcome: Outcome| {
                    if outcome.result.is_ok() {
                        begun.begins_acknowledged(cursor, store);
                    }
                };
                acknowledge(sessions, &session.user, &session.device, cursor, Box::new(answered));
            }
            StartAt::Cursor(cursor) if cursor == start => session.begins_acknowledged(cursor, store),
            _ => {}
        }
        if attached.resumed && attached.head > start.position.0 {
            metrics::catchup(CatchUp::Resume.as_str());
        }
        let welcome = Frame::Welcome(Arc::new(Welcome {
            user: session.user.to_string(),
            device: session.device.to_string(),
            session: session.id.to_string(),
            node: sessions.config.node.clone(),
            cursor: start,
            resumed: attached.resumed,
            heartbeat_ms: u64::try_from(sessions.config.heartbeat.as_millis()).unwrap_or(u64::MAX),
        }));
        let reset: Option<ResetReason> = attached.reset().into();
        if reset.is_some() {
            session.lose_place();
        }
        if reset == Some(ResetReason::Rewritten) {
            sessions.newest.forget();
        }
        let first = [Some(welcome), reset.map(|reason| Frame::Reset(reason, start))];
        session.begin(start, Position(attached.head), first.into_iter().flatten());
        if let Some(page) = attached.page.take() {
            tail.take_over(page, asked);
        }
        Ok(tail)
    }

    /// Waits for the next frames and appends them to `out`, at most `most`; or
    /// returns why the session has ended, after its last frame. The future may
    /// be dropped at any time.
    pub async fn next(&mut self, out: &mut Vec<Frame>, most: usize) -> Result<(), End> {
        poll_fn(|cx| self.poll_next(cx, out, most)).await
    }

    /// Like [`Tail::next`], for a transport that is also woken by other things.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Frame>,
        most: usize,
    ) -> Poll<Result<(), End>> {
        loop {
            let before = out.len();
            let (taken, missing) = self.session.poll_take(cx, out, most);
            match taken {
                NextStep::Frames => {
                    self.delivered(out.get(before..).unwrap_or_default());
                    receipts::add_receipts(&self.sessions.newest, out, before);
                    return Poll::Ready(Ok(()));
                }
                NextStep::Ended(end) => return Poll::Ready(Err(end)),
                NextStep::Release => {
                    gathered_acks::release(&self.sessions.context.routers, &self.session);
                    continue;
                }
                NextStep::Presence => {
                    self.sessions.presence.settle(&self.session);
                    continue;
                }
                NextStep::Nothing => self.reading = None,
                NextStep::Read(after) => {
                    let (sessions, session) = (&self.sessions, &self.session);
                    self.reading
                        .get_or_insert_with(|| Box::pin(read(sessions.clone(), session.clone(), after)));
                }
            }
            self.read_channel(missing);
            if let Some(reading) = &mut self.reading
                && let Poll::Ready((page, asked)) = reading.as_mut().poll(cx)
            {
                self.reading = None;
                self.take_over(page, asked);
                continue;
            }
            if let Some(reading) = &mut self.channel
                && let Poll::Ready(page) = reading.page.as_mut().poll(cx)
            {
                let count = self.session.apply_publications(&reading.missing, page);
                self.channel = None;
                metrics::publications(count);
                continue;
            }
            return Poll::Pending;
        }
    }

    fn take_over(&self, mut page: wire::InboxPage, asked: PageRequest) {
        if page.standing() == Standing::Superseded {
            return self.sessions.farewells.replaced(self.session.clone());
        }
        if page.reset() == wire::ResetReason::Rewritten {
            self.sessions.newest.forget();
        }
        // A lower mark of these may still be under way.
        let lately = Time::now().before(LATELY).0;
        for event in page.events.iter().filter_map(|filed| filed.event.as_ref()) {
            if let Some(entry) = event.entry.as_ref().filter(|entry| entry.time >= lately)
                && let Some(mark) = Mark::of_message(&event.conversation, event.seq, entry)
            {
                self.sessions.newest.admits(&mark);
            }
        }
        // It may be in this very page: what a message says of its sender is stored with
        // the sender's record, which a store that is written step by step may file
        // after the reader's inbox.
        page.marks.retain(|mark| self.sessions.newest.admits(&mark.into()));
        self.session.apply(page, asked);
    }

    /// Measures, once for these frames, how long the oldest live event among
    /// them took since it was written.
    fn delivered(&self, frames: &[Frame]) {
        let events = || {
            frames.iter().filter_map(|frame| match frame {
                Frame::Event(_, event) => Some(event),
                _ => None,
            })
        };
        let count = events().count();
        if count > 0 {
            let oldest = events().filter_map(|event| event.live_since()).min();
            metrics::delivered(count, oldest.map(seconds_since));
        }
    }

    /// Starts to read what the session misses of a channel, and stops any other
    /// reading.
    fn read_channel(&mut self, missing: Option<Missing>) {
        if let (Some(missing), Some(reading)) = (&missing, &self.channel)
            && missing.is(&reading.missing)
        {
            return;
        }
        self.channel = missing.map(|missing| {
            let (sessions, user) = (self.sessions.clone(), self.session.user.clone());
            let page = Box::pin(read_channel(sessions, user, missing.clone()));
            Box::new(ChannelReading { missing, page })
        });
    }
}

/// Seconds since a time; 0 if a clock is behind.
fn seconds_since(written: u64) -> f64 {
    Time::now().since(Time(written)).as_secs_f64()
}

impl Drop for Tail {
    fn drop(&mut self) {
        close(&self.sessions, &self.session);
    }
}

/// Removes a session that has ended. Usually its transport calls this; for a
/// peer that takes no data `crate::session::farewell` does.
pub(crate) fn close(sessions: &Arc<Sessions>, session: &Session) {
    if !sessions.hub.remove(session) {
        return;
    }
    sessions.presence.leave(session);
    sessions.channels.leave(session);
    gathered_acks::release(&sessions.context.routers, session);
    if let Some((cursor, handed_out)) = session.last_position(sessions.store()) {
        let (device, handed_out) = (session.device.to_string(), Some(handed_out));
        let ack = wire::Ack { device, cursor: Some(cursor.into()), handed_out };
        sessions.context.routers.submit(&session.user, request::Command::Ack(ack), Box::new(|_| {}));
    }
    let detach = wire::Detach { session: session.id.to_string() };
    // If it is lost, the session goes with the node's lease.
    sessions.context.routers.submit(&session.user, request::Command::Detach(detach), Box::new(|_| {}));
}

async fn attach(sessions: &Sessions, session: &Session, from: StartAt) -> Result<wire::Attached, Failure> {
    let attach = wire::Attach {
        device: session.device.to_string(),
        session: session.id.to_string(),
        node: sessions.context.node.to_string(),
        from: from.wire(),
    };
    resolve(sessions, &session.user, attach).await
}

/// Asks a router where reading starts; with a session and a node in `attach`
/// the session is registered in the same step. Fails when no router answers.
pub(crate) async fn resolve(
    sessions: &Sessions,
    user: &UserId,
    attach: wire::Attach,
) -> Result<wire::Attached, Failure> {
    let _turn = sessions.context.turn().await?;
    match sessions.context.routers.call(user, request::Command::Attach(attach)).await? {
        reply::Result::Attached(attached) => Ok(attached),
        _ => Err(Failure::internal("the router gave an answer of the wrong kind")),
    }
}

/// Acknowledges a cursor that a client has given: everything up to it has
/// arrived (PROTOCOL.md §5, `ack`). Nobody waits for it: the next one repeats
/// it.
pub(crate) fn acknowledge(
    sessions: &Sessions,
    user: &UserId,
    device: &DeviceId,
    cursor: Cursor,
    answered: Completion,
) {
    let ack = wire::Ack { device: device.to_string(), cursor: Some(cursor.into()), handed_out: None };
    sessions.context.routers.submit(user, request::Command::Ack(ack), answered);
}

/// For [`resolve`]: looks up where reading starts, without registering a
/// session.
pub(crate) fn place_only(device: &DeviceId, from: StartAt) -> wire::Attach {
    wire::Attach {
        device: device.to_string(),
        session: String::new(),
        node: String::new(),
        from: from.wire(),
    }
}

/// Reads a page, however long that takes: a store that is away comes back. A
/// session that was removed with its node's lease attaches again.
async fn read(
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    after: Cursor,
) -> (wire::InboxPage, PageRequest) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let asked = session.begin_page();
        let mut query = wire::ReadInbox {
            after: Some(after.into()),
            limit: PAGE,
            session: session.id.to_string(),
            device: session.device.to_string(),
            ..wire::ReadInbox::default()
        };
        if let Some(marks) = asked.marks {
            ask_marks(&mut query, marks);
        }
        match page(&sessions, &session.user, query).await {
            Ok(page) if page.standing() == Standing::Missing => {
                if attach(&sessions, &session, StartAt::Cursor(after)).await.is_ok() {
                    continue;
                }
            }
            Ok(page) => return (page, asked),
            Err(failure) => {
                tracing::debug!(session = %session.id, %failure, "catching up waits");
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// How far back, in ms, a mark's announcement may still be under way; clocks
/// differ, too.
const LATELY: Duration = Duration::from_secs(60);

/// Marks are asked for from this much earlier: losses are noticed late, and
/// announcements take a while.
const MARKS_SLACK: Duration = Duration::from_secs(60);

/// Also asks for the marks that the session misses.
fn ask_marks(query: &mut wire::ReadInbox, MarksAsked { since, after }: MarksAsked) {
    query.marks_after = after;
    match since {
        Since::Place(place) => query.marks_since = Some(place.into()),
        Since::Moment(moment) => {
            let within = moment.elapsed() + MARKS_SLACK;
            query.marks_within_ms = Some(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        }
    }
}

/// Reads a page of a channel, however long that takes.
async fn read_channel(sessions: Arc<Sessions>, user: UserId, missing: Missing) -> Page {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        match sessions.channels.page(&user, &missing.channel, missing.after).await {
            Ok(page) => return page,
            Err(failure) => tracing::debug!(channel = %missing.channel, %failure, "reading a channel waits"),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// One page of an inbox.
pub(crate) async fn page(
    sessions: &Sessions,
    user: &UserId,
    query: wire::ReadInbox,
) -> Result<wire::InboxPage, Failure> {
    let _turn = sessions.context.turn().await?;
    match sessions.context.routers.call(user, request::Command::ReadInbox(query)).await? {
        reply::Result::Inbox(page) => Ok(page),
        _ => Err(Failure::internal("the router gave an answer of the wrong kind")),
    }
}
