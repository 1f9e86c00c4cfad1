//! Removes what is too old: events and messages by the limit of age, repeat
//! keys after a day. (New events also remove old ones; this is for inboxes and
//! conversations that get none.) One step handles a limited number of rows, so
//! that calls never wait long for it.

use prost::Message as _;
use redb::{Database, ReadableDatabase};

use super::inbox::cut;
use super::journal::Writes;
use super::post;
use super::tables::{CONVERSATIONS, ConversationRow, REPEAT_ENDS, Tables, USERS, UserRow, decode};
use crate::{Bounds, Result};

/// How long repeat keys are kept at least, in ms.
const REPEAT_MS: u64 = 24 * 60 * 60 * 1000;
/// The most rows that one step reads, of each kind.
const MAX_READ: usize = 2000;
/// The most rows that one step removes, of each kind.
const MAX_REMOVED: usize = 2000;

/// How far the sweep has come.
#[derive(Default)]
pub(super) struct Sweep {
    /// The number of the last user checked; 0 between rounds.
    user: u64,
    /// The number of the last conversation checked; 0 between rounds.
    conversation: u64,
}

/// The rows to remove.
#[derive(Default)]
struct DueRows {
    repeats: Vec<u64>,
    users: Vec<u64>,
    conversations: Vec<u64>,
}

impl Sweep {
    /// Does one step. Returns whether there is more to do at once.
    pub(super) fn step(&mut self, database: &Database, bounds: &Bounds, now: u64) -> Result<bool> {
        let oldest = now.saturating_sub(bounds.age_ms());
        let oldest_event = now.saturating_sub(bounds.inbox_age_ms());
        let (from_user, from_conversation) = (self.user, self.conversation);
        let due = self.look(database, oldest_event, oldest, now)?;
        let mut more = self.user != 0 || self.conversation != 0 || due.repeats.len() >= MAX_REMOVED;
        if due.repeats.is_empty() && due.users.is_empty() && due.conversations.is_empty() {
            return Ok(more);
        }
        let txn = database.begin_write()?;
        {
            let writes = Writes::default();
            let mut tables = Tables::open(&txn, &writes)?;
            for log in due.repeats {
                forget(&mut tables, log)?;
            }
            if !take_events(&mut tables, &due.users, oldest_event)? {
                (self.user, more) = (from_user, true);
            }
            if !take_messages(&mut tables, &due.conversations, oldest)? {
                (self.conversation, more) = (from_conversation, true);
            }
        }
        txn.commit()?;
        Ok(more)
    }

    fn look(&mut self, database: &Database, oldest_event: u64, oldest: u64, now: u64) -> Result<DueRows> {
        let txn = database.begin_read()?;
        let mut due = DueRows::default();
        for row in txn.open_table(REPEAT_ENDS)?.range::<u64>(..)?.take(MAX_REMOVED) {
            let (log, end) = row?;
            if end.value().0 + REPEAT_MS > now {
                break;
            }
            due.repeats.push(log.value());
        }
        let mut last = 0;
        for (index, row) in txn.open_table(USERS)?.range(self.user + 1..)?.take(MAX_READ).enumerate() {
            let (number, value) = row?;
            let user = UserRow::read(value.value());
            if user.first <= user.head && user.first_time < oldest_event {
                due.users.push(number.value());
            }
            last = if index + 1 == MAX_READ { number.value() } else { 0 };
        }
        self.user = last;
        let mut last = 0;
        for (index, row) in
            txn.open_table(CONVERSATIONS)?.range(self.conversation + 1..)?.take(MAX_READ).enumerate()
        {
            let (number, value) = row?;
            let row: ConversationRow = decode(value.value())?;
            if row.first <= row.head && row.first_time < oldest {
                due.conversations.push(number.value());
            }
            last = if index + 1 == MAX_READ { number.value() } else { 0 };
        }
        self.conversation = last;
        Ok(due)
    }
}

/// Removes a repeat key.
fn forget(tables: &mut Tables<'_>, log: u64) -> Result<()> {
    if let Some(end) = tables.repeat_ends.remove(log)? {
        let (_, conversation, user, key) = end.value();
        tables.repeats.remove((conversation, user, key))?;
    }
    Ok(())
}

/// Removes old events from inboxes. Returns whether all of them are removed.
fn take_events(tables: &mut Tables<'_>, users: &[u64], oldest: u64) -> Result<bool> {
    let mut left = MAX_REMOVED;
    for &number in users {
        let mut user = super::tables::user(&tables.users, number)?;
        while left > 0 && user.first <= user.head && user.first_time < oldest {
            cut(tables, number, &mut user)?;
            left -= 1;
        }
        tables.users.insert(number, user.value())?;
    }
    Ok(left > 0)
}

/// Removes old messages from conversations. Returns whether all of them are
/// removed.
fn take_messages(tables: &mut Tables<'_>, conversations: &[u64], oldest: u64) -> Result<bool> {
    let mut left = MAX_REMOVED;
    for &number in conversations {
        let mut row = super::tables::conversation(&tables.conversations, number)?;
        while left > 0 && row.first <= row.head && row.first_time < oldest {
            post::cut(tables, number, &mut row)?;
            left -= 1;
        }
        tables.conversations.insert(number, row.encode_to_vec().as_slice())?;
    }
    Ok(left > 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proto::{ConversationId, Fingerprint, Seq, Time, UserId};
    use tokio::sync::oneshot;

    use super::super::exchange::Exchange;
    use super::super::file::StoreFile;
    use super::super::history::history;
    use super::super::inbox::read;
    use super::super::long::LongTransaction;
    use super::super::open_file;
    use super::super::tables::{AMENDED, LOG, RECALLED, REFERENCES, REPEATS};
    use super::super::writer::{Call, Job, Writer};
    use super::*;
    use crate::model::{
        Amenders, Amendment, HistoryQuery, HistoryRange, InboxQuery, NewEntry, Post, PostKind, PostResult,
    };

    /// The sweep is given the time, so that tests need not wait.
    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn alice() -> UserId {
        UserId::parse("alice").unwrap()
    }

    fn message(key: &str) -> Post {
        let entry = proto::wire::Entry { fingerprint: 7, ..Default::default() };
        let entry =
            NewEntry { fingerprint: Fingerprint(7), time: Time(1), bytes: entry.encode_to_vec().into() };
        let kind = PostKind::Message { repeat_key: key.into(), session: None };
        Post {
            conversation: ConversationId::direct(&alice(), &UserId::parse("bob").unwrap()),
            by: alice(),
            entries: [entry].into(),
            kind,
            trace: bytes::Bytes::new(),
        }
    }

    fn post(writer: &Writer, key: &str) -> PostResult {
        post_all(writer, vec![message(key)]).remove(0)
    }

    fn post_all(writer: &Writer, items: Vec<Post>) -> Vec<PostResult> {
        let (answer, mut answered) = oneshot::channel();
        writer.commit(vec![Job::Post(Call { items, answer })]);
        let answer = answered.try_recv().unwrap().unwrap();
        assert!(writer.settle());
        answer
    }

    fn writer(folder: &tempfile::TempDir) -> Writer {
        let (database, incarnation) = open_file(folder.path()).unwrap();
        let file = Arc::new(StoreFile::new(folder.path().to_owned(), database));
        Writer {
            transaction: LongTransaction::new(file.clone()).into(),
            file,
            disk: Default::default(),
            exchange: Arc::new(Exchange::new(incarnation)),
            bounds: Bounds { age: Duration::from_secs(90 * 24 * 3600), ..Bounds::default() },
            unheard: Default::default(),
        }
    }

    fn sweep(writer: &Writer, now: u64) {
        let mut sweep = Sweep::default();
        while sweep.step(&writer.file.database().unwrap(), &writer.bounds, now).unwrap() {}
    }

    #[test]
    fn a_repeat_is_known_for_a_day_and_then_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let is_repeat = |posted| matches!(posted, PostResult::Done { duplicate: true, .. });
        assert!(!is_repeat(post(&writer, "key")));
        sweep(&writer, Time::now().0 + DAY - 60_000);
        assert!(is_repeat(post(&writer, "key")));
        sweep(&writer, Time::now().0 + DAY + 60_000);
        assert!(!is_repeat(post(&writer, "key")));
        let txn = writer.file.database().unwrap().begin_read().unwrap();
        assert_eq!(txn.open_table(REPEATS).unwrap().range::<(u64, u64, &str)>(..).unwrap().count(), 1);
    }

    #[test]
    fn what_became_of_a_message_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let amend = |amendment| {
            let kind = PostKind::Amend { seq: Seq(1), who: Amenders::Anyone, amendment };
            Post { kind, ..message("") }
        };
        let edit = |key: &str| amend(Amendment::Edit { repeat_key: key.into() });
        let react = amend(Amendment::React { emoji: "👍".into(), on: true });
        let posts = vec![message("1"), edit("1"), react, edit("2"), amend(Amendment::Recall), message("2")];
        for posted in post_all(&writer, posts) {
            assert!(matches!(posted, PostResult::Done { .. }), "{posted:?}");
        }
        let txn = writer.file.database().unwrap().begin_read().unwrap();
        assert_eq!(txn.open_table(AMENDED).unwrap().range::<(u64, u64)>(..).unwrap().count(), 1);
        sweep(&writer, Time::now().0 + 91 * DAY);
        let txn = writer.file.database().unwrap().begin_read().unwrap();
        assert_eq!(txn.open_table(AMENDED).unwrap().range::<(u64, u64)>(..).unwrap().count(), 0);
        assert_eq!(txn.open_table(RECALLED).unwrap().range::<(u64, u64)>(..).unwrap().count(), 0);
        assert_eq!(txn.open_table(LOG).unwrap().range::<u64>(..).unwrap().count(), 0);
        assert_eq!(txn.open_table(REFERENCES).unwrap().range::<u64>(..).unwrap().count(), 0);
        assert_eq!(txn.open_table(REPEATS).unwrap().range::<(u64, u64, &str)>(..).unwrap().count(), 0);
    }

    #[test]
    fn what_is_older_than_the_bound_goes_and_takes_its_entries_along() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        post_all(&writer, (0..3000).map(|number| message(&number.to_string())).collect());
        sweep(&writer, Time::now().0 + 6 * DAY);
        let query = InboxQuery {
            user: alice(),
            after: proto::Cursor::ORIGIN,
            limit: 9999,
            session: None,
            marks: None,
        };
        let page = read(&writer.file.database().unwrap().begin_read().unwrap(), &query, 1 << 20).unwrap();
        assert_eq!((page.events.len(), page.head.0, page.reset), (1_000, 3_000, None));

        sweep(&writer, Time::now().0 + 8 * DAY);
        let txn = writer.file.database().unwrap().begin_read().unwrap();
        let page = read(&txn, &query, 1 << 20).unwrap();
        let (reason, head) = page.reset.unwrap();
        assert_eq!((reason, head.position.0), (proto::ResetReason::Trimmed, 3000));
        assert_eq!(head.fingerprint, Fingerprint(7), "the head still has its fingerprint");
        let query = HistoryQuery {
            user: alice(),
            conversation: ConversationId::direct(&alice(), &UserId::parse("bob").unwrap()),
            range: HistoryRange::Newest,
            limit: 10,
        };
        let kept = txn.open_table(LOG).unwrap().range::<u64>(..).unwrap().count();
        assert_eq!(kept, 3_000, "the conversation still has what left the inbox");
        // None of them has content: readers go past them all.
        assert_eq!(history(&txn, &query).unwrap().unwrap().messages, []);

        sweep(&writer, Time::now().0 + 91 * DAY);
        let txn = writer.file.database().unwrap().begin_read().unwrap();
        assert_eq!(history(&txn, &query).unwrap().unwrap().messages, []);
        assert_eq!(txn.open_table(LOG).unwrap().range::<u64>(..).unwrap().count(), 0);
        assert_eq!(txn.open_table(REFERENCES).unwrap().range::<u64>(..).unwrap().count(), 0);
        let next = post(&writer, "next");
        assert!(matches!(next, PostResult::Done { seq: Seq(3001), .. }), "{next:?}");
    }
}
