//! `attach`, `detach`, `read_inbox` and `ack`: how sessions use their user's record
//! and inbox.

use std::time::Duration;

use proto::limits::{MAX_EVENTS, MAX_NAMED_MARKS};
use proto::wire::{self, Notice, notice, reply};
use proto::{Cursor, DeviceId, StoreIncarnation, UserId};
use store::model::{
    Acknowledge, Attach, AttachResult, Detach, HandedOut, InboxPage, InboxQuery, Location, Mark, MarksQuery,
    MarksSince, NOTED_AHEAD, Standing, StartPoint,
};

use super::{cursor, event, field, number, presence, seq};
use crate::error::{Error, Result};
use crate::receipts::{self, Notices};

/// Events of a page when the gateway gives no limit.
const USUAL_EVENTS: u32 = 100;

/// The store's call for an attach: it begins a session, or only looks up where to
/// begin when no node is named.
pub(crate) fn attach(user: UserId, attach: &wire::Attach) -> Result<Attach> {
    let location = match attach.node.as_str() {
        "" => None,
        node => Some(Location {
            session: field("session", &attach.session)?,
            device: field("device", &attach.device)?,
            node: field("node", node)?,
        }),
    };
    let from = match attach.from {
        None | Some(wire::attach::From::Start(false)) => StartPoint::Head,
        Some(wire::attach::From::Start(true)) => StartPoint::Start,
        Some(wire::attach::From::Cursor(at)) => StartPoint::Cursor(cursor("cursor", at)?),
    };
    Ok(Attach { user, location, from })
}

/// The answer to an attach. Sessions that it replaced are told.
pub(crate) fn attached(
    user: &UserId,
    asked: &wire::Attach,
    attached: AttachResult,
    notices: &Notices,
) -> reply::Result {
    presence::came(user, &attached, notices);
    let from_a_position =
        matches!(asked.from, Some(wire::attach::From::Start(true) | wire::attach::From::Cursor(_)));
    for location in attached.replaced {
        // A repeated attach finds its own session.
        if location.session.as_str() == asked.session {
            continue;
        }
        let notice = Notice {
            users: vec![user.to_string()],
            session: location.session.into(),
            what: Some(notice::What::Replaced(wire::Replaced {})),
        };
        receipts::send(notices, location.node, notice);
    }
    reply::Result::Attached(wire::Attached {
        start: Some(attached.start.into()),
        resumed: from_a_position && attached.reset.is_none(),
        reset: wire::ResetReason::from(attached.reset).into(),
        head: attached.head.0,
        page: attached.page.map(inbox_page),
        acknowledged: attached.acknowledged,
    })
}

/// The store's call for the end of a session.
pub(crate) fn detach(user: UserId, detach: &wire::Detach) -> Result<Detach> {
    Ok(Detach { user, session: field("session", &detach.session)? })
}

/// The store's call for a page of an inbox.
pub(crate) fn query(user: UserId, query: &wire::ReadInbox) -> Result<InboxQuery> {
    let session = match query.session.as_str() {
        "" => None,
        session => Some((field("session", session)?, field("device", &query.device)?)),
    };
    let limit = match query.limit {
        0 => USUAL_EVENTS,
        limit => limit.min(MAX_EVENTS),
    };
    Ok(InboxQuery {
        user,
        after: query.after.map_or(Ok(Cursor::ORIGIN), |after| cursor("after", after))?,
        limit: limit as usize,
        session,
        marks: marks(query)?,
    })
}

/// Which marks the gateway wants, if any.
fn marks(query: &wire::ReadInbox) -> Result<Option<MarksQuery>> {
    let since = match (query.marks_since, query.marks_within_ms) {
        (Some(since), _) => MarksSince::Cursor(cursor("marks_since", since)?),
        (None, Some(ms)) => {
            MarksSince::Within(Duration::from_millis(number("marks_within_ms", ms)?) + NOTED_AHEAD)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(MarksQuery { since, after: number("marks_after", query.marks_after)? }))
}

/// The answer with a page of an inbox.
pub(crate) fn page(page: InboxPage) -> reply::Result {
    reply::Result::Inbox(inbox_page(page))
}

fn inbox_page(page: InboxPage) -> wire::InboxPage {
    let events = page
        .events
        .into_iter()
        .map(|filed| wire::InboxEvent { position: filed.position.0, event: Some(event(filed.event)) });
    let standing = match page.standing {
        Standing::Registered => wire::Standing::Registered,
        Standing::Superseded => wire::Standing::Superseded,
        Standing::Missing => wire::Standing::Missing,
    };
    let (reset, restart) = page.reset.unzip();
    wire::InboxPage {
        events: events.collect(),
        head: page.head.0,
        reset: wire::ResetReason::from(reset).into(),
        restart: restart.map(Into::into),
        standing: standing.into(),
        marks: page.marks.iter().map(Mark::receipt).collect(),
        marks_next: page.marks_next.unwrap_or_default(),
    }
}

/// The store's call for an `ack`.
pub(crate) fn acknowledge(user: UserId, ack: wire::Ack) -> Result<Acknowledge> {
    if !ack.device.is_empty() {
        field::<DeviceId>("device", &ack.device)?;
    }
    let at = ack.cursor.ok_or_else(|| Error::BadRequest("`cursor` is missing".to_owned()))?;
    let handed_out = ack.handed_out.map(handed_out).transpose()?;
    Ok(Acknowledge { user, cursor: cursor("cursor", at)?, handed_out })
}

fn handed_out(named: wire::HandedOut) -> Result<HandedOut> {
    if named.marks.len() > MAX_NAMED_MARKS {
        return Err(Error::BadRequest(format!("`handed_out` has more than {MAX_NAMED_MARKS} marks")));
    }
    let marks = named
        .marks
        .iter()
        .map(|mark| Ok((field("conversation", &mark.conversation)?, seq("seq", mark.seq)?)));
    Ok(HandedOut {
        store: StoreIncarnation(named.store),
        marks: marks.collect::<Result<_>>()?,
        position: named.position,
    })
}
