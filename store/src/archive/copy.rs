//! What is written: entries that are about to leave Redis.

use proto::Time;
use tokio_postgres::Client;

use super::{Archive, Copied, List, signed, weeks};
use crate::Result;

/// An entry in a partition. What is there under its number gives way: it comes
/// from a history that was lost.
const ENTRY: &str = "\
    INSERT INTO switchboard_entries AS there (conversation, kind, number, week, entry) \
    SELECT conversation, kind, number, $1, entry \
    FROM unnest($2::text[], $3::smallint[], $4::bigint[], $5::bytea[]) AS new (conversation, kind, number, entry) \
    ON CONFLICT (conversation, kind, number, week) \
    DO UPDATE SET entry = excluded.entry WHERE there.entry <> excluded.entry";

const COPIED: &str = "\
    INSERT INTO switchboard_copied AS there (conversation, messages, changes, week) \
    SELECT conversation, messages, changes, $1 \
    FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS new (conversation, messages, changes) \
    ON CONFLICT (conversation) DO UPDATE \
    SET messages = greatest(there.messages, excluded.messages), \
        changes = greatest(there.changes, excluded.changes), week = excluded.week";

/// The columns of a batch of rows.
#[derive(Default)]
struct Columns<'a> {
    conversations: Vec<&'a str>,
    kinds: Vec<i16>,
    numbers: Vec<i64>,
    entries: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, copied: &'a Copied) {
        let lists = [(List::Messages, &copied.messages), (List::Changes, &copied.changes)];
        for (list, (base, entries)) in lists {
            for (number, entry) in (base + 1..).zip(entries) {
                self.conversations.push(copied.conversation.as_str());
                self.kinds.push(list.kind());
                self.numbers.push(signed(number));
                self.entries.push(entry);
            }
        }
    }
}

impl Archive {
    /// Keeps entries, each conversation at most once in a call. When it returns,
    /// they are on the archive's disk.
    pub(crate) async fn keep(&self, all: &[Copied]) -> Result<()> {
        let week = weeks::week(Time::now());
        let mut columns = Columns::default();
        all.iter().for_each(|copied| columns.add(copied));
        if columns.numbers.is_empty() {
            return Ok(());
        }
        let (mut conversations, mut messages, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for copied in all {
            let last = |(base, entries): &(u64, Vec<_>)| signed(base + entries.len() as u64);
            conversations.push(copied.conversation.as_str());
            messages.push(last(&copied.messages));
            changes.push(last(&copied.changes));
        }
        self.pool
            .write(async |client: &mut Client| {
                weeks::make(client, week).await?;
                let transaction = client.transaction().await?;
                let Columns { conversations: of, kinds, numbers, entries } = &columns;
                transaction.execute(ENTRY, &[&week, of, kinds, numbers, entries]).await?;
                transaction.execute(COPIED, &[&week, &conversations, &messages, &changes]).await?;
                transaction.commit().await
            })
            .await
    }
}
