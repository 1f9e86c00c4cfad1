//! A page of an inbox: its events and, on the page that reaches the head, the
//! marks that have changed.

use proto::{Cursor, UserId};
use redb::ReadTransaction;

use super::{changed, inbox};
use crate::model::{FIRST_PAGE, InboxPage, InboxQuery, MarksQuery, MarksSince, Standing};
use crate::{Bounds, Result};

/// Reads a page of at most `most` bytes of events.
pub(super) fn page(
    txn: &ReadTransaction,
    bounds: &Bounds,
    query: &InboxQuery,
    standing: Standing,
    most: usize,
) -> Result<InboxPage> {
    let page = inbox::read(txn, query, most)?;
    let reached = page.events.last().map_or(query.after.position, |last| last.position);
    let (marks, marks_next) = match &query.marks {
        Some(wanted) if page.reset.is_none() && reached == page.head => {
            changed::read(txn, bounds, &query.user, wanted)?
        }
        _ => (Vec::new(), None),
    };
    let (events, head, reset) = (page.events, page.head, page.reset);
    Ok(InboxPage { events, head, reset, standing, marks, marks_next })
}

/// The first page of a session, which is noted already and begins at `after`.
pub(super) fn first_page(
    txn: &ReadTransaction,
    bounds: &Bounds,
    user: &UserId,
    after: Cursor,
    most: usize,
) -> Result<InboxPage> {
    let marks = MarksQuery { since: MarksSince::Cursor(after), after: 0 };
    let query =
        InboxQuery { user: user.clone(), after, limit: FIRST_PAGE, session: None, marks: Some(marks) };
    page(txn, bounds, &query, Standing::Registered, most)
}
