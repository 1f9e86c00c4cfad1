//! What is read: entries by their numbers, and pages of messages.

use bytes::Bytes;
use proto::ConversationId;
use tokio_postgres::{Client, Row};

use super::{Archive, List, Range, signed};
use crate::{Error, Result};

/// Of two rows with one number the one of the later week comes first.
const RANGES: &str = "\
    SELECT wanted.at, there.number, there.entry \
    FROM unnest($1::bigint[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[]) \
        AS wanted (at, conversation, kind, first, last) \
    CROSS JOIN LATERAL ( \
        SELECT number, week, entry FROM switchboard_entries AS entries \
        WHERE entries.conversation = wanted.conversation AND entries.kind = wanted.kind \
        AND entries.number BETWEEN wanted.first AND wanted.last \
    ) AS there \
    ORDER BY wanted.at, there.number, there.week DESC";

/// A page, with what all rows of the range weigh up to each of them.
macro_rules! page {
    ($order:literal) => {
        concat!(
            "SELECT number, entry, entries FROM ( \
                SELECT number, week, entry, count(*) OVER () AS entries, \
                    sum(octet_length(entry) + $6::bigint) OVER (ORDER BY number ",
            $order,
            ", week DESC) \
                        - octet_length(entry) - $6::bigint AS before \
                FROM switchboard_entries \
                WHERE conversation = $1 AND kind = $2 AND number BETWEEN $3 AND $4 \
            ) AS page WHERE before < $5::bigint OR before = 0 ORDER BY number ",
            $order,
            ", week DESC"
        )
    };
}

/// Messages of a range, in the order of reading.
pub(crate) struct Page {
    /// Each with its seq.
    pub(crate) messages: Vec<(u64, Bytes)>,
    /// Whether the range has more than fitted.
    pub(crate) cut: bool,
}

impl Archive {
    /// The entries of several ranges, each with the index of its range and its
    /// number, in order. What is not there is missing.
    pub(crate) async fn ranges(&self, wanted: &[Range]) -> Result<Vec<(usize, u64, Bytes)>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let at: Vec<i64> = (0..wanted.len()).map(|index| signed(index as u64)).collect();
        let conversations: Vec<&str> = wanted.iter().map(|range| range.conversation.as_str()).collect();
        let kinds: Vec<i16> = wanted.iter().map(|range| range.list.kind()).collect();
        let first: Vec<i64> = wanted.iter().map(|range| signed(range.first)).collect();
        let last: Vec<i64> = wanted.iter().map(|range| signed(range.last)).collect();
        let rows = self.pool.read(async |client: &Client| {
            client.query(RANGES, &[&at, &conversations, &kinds, &first, &last]).await
        });
        let mut found: Vec<(usize, u64, Bytes)> = Vec::new();
        for row in rows.await? {
            let (index, number) = (unsigned(&row, 0)?, unsigned(&row, 1)?);
            let index = usize::try_from(index).map_err(|_| damaged())?;
            if found.last().is_none_or(|(at, before, _)| (*at, *before) != (index, number)) {
                found.push((index, number, entry(&row, 2)?));
            }
        }
        Ok(found)
    }

    /// A page of the messages from `first` to `last`: the newest ones, in falling
    /// order, or the oldest ones in rising order. Each counts as its entry and
    /// `beside`, and together they count at most `most`; one at least.
    pub(crate) async fn page(
        &self,
        conversation: &ConversationId,
        (first, last): (u64, u64),
        newest: bool,
        most: usize,
        beside: usize,
    ) -> Result<Page> {
        let statement = if newest { page!("DESC") } else { page!("ASC") };
        let (first, last) = (signed(first), signed(last));
        let (most, beside) = (signed(most as u64), signed(beside as u64));
        let rows = self.pool.read(async |client: &Client| {
            let kind = List::Messages.kind();
            client.query(statement, &[&conversation.as_str(), &kind, &first, &last, &most, &beside]).await
        });
        let rows = rows.await?;
        let cut = match rows.first() {
            Some(row) => unsigned(row, 2)? > rows.len() as u64,
            None => false,
        };
        let mut messages: Vec<(u64, Bytes)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let number = unsigned(row, 0)?;
            if messages.last().is_none_or(|(before, _)| *before != number) {
                messages.push((number, entry(row, 1)?));
            }
        }
        Ok(Page { messages, cut })
    }
}

/// A number, which PostgreSQL has with a sign.
pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64> {
    row.try_get::<_, i64>(column).ok().and_then(|number| u64::try_from(number).ok()).ok_or_else(damaged)
}

/// The id of a conversation.
pub(super) fn conversation_id(row: &Row, column: usize) -> Result<ConversationId> {
    let id: String = row.try_get(column).map_err(|_| damaged())?;
    ConversationId::parse(&id).map_err(|_| damaged())
}

fn entry(row: &Row, column: usize) -> Result<Bytes> {
    row.try_get::<_, Vec<u8>>(column).map(Bytes::from).map_err(|_| damaged())
}

fn damaged() -> Error {
    Error::Corrupt("the archive holds a row that is none of ours".into())
}
