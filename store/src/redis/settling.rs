//! What is settled between Redis and the archive now and then, by one router at a
//! time: numbers, after Redis may have lost its last writes; and what is too old.

use std::sync::Mutex;
use std::time::Duration;

use fred::types::Value;
use proto::Time;
use tokio::time::Instant;

use super::Redis;
use super::archive::Archiver;
use super::connection::Item;
use super::conversation::conversation_item;
use super::{script, write};
use crate::Result;
use crate::archive::{CopiedHead, List, Range};

/// The most conversations of one call.
const CONVERSATIONS: u32 = 512;
/// The most conversations that are raised in one call: each has four entries.
const RAISED: usize = 8;
/// The time between two looks for what is too old.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How long the work belongs to the router that has begun it, after each part.
const HELD: Duration = Duration::from_secs(30);
/// The key of that.
const KEY: &str = "{sb}archive";

/// What this router has settled.
#[derive(Default)]
pub(super) struct Settled(Mutex<State>);

#[derive(Default, Clone)]
struct State {
    /// The incarnation of the store for which numbers were compared.
    incarnation: String,
    /// When it looked last for what is too old.
    looked: Option<Instant>,
}

impl Settled {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Redis {
    /// Compares the archive's numbers with those of Redis once for each incarnation
    /// of the store. Returns whether that is done: nothing is copied before.
    pub(super) async fn settle_numbers(&self, archiver: &Archiver) -> Result<bool> {
        let incarnation = self.upkeep.incarnation();
        if archiver.settled.state().incarnation == *incarnation {
            return Ok(!incarnation.is_empty());
        }
        if !archiver.archive.is_compared(&incarnation).await? {
            let (mut after, mut raised) = (String::new(), 0);
            loop {
                if !self.hold(archiver).await? {
                    return Ok(false);
                }
                let heads = archiver.archive.heads(&after, CONVERSATIONS).await?;
                let Some(last) = heads.last() else { break };
                after = last.conversation.as_str().to_owned();
                raised += self.raise(archiver, heads).await?;
            }
            if raised > 0 {
                tracing::warn!(
                    conversations = raised,
                    "redis lost messages that the archive has: they stay readable"
                );
            }
            archiver.archive.compared(&incarnation).await?;
            self.let_go(archiver).await?;
        }
        archiver.settled.state().incarnation = incarnation.to_string();
        Ok(true)
    }

    /// Raises those of the conversations that reach less far in Redis. Returns how
    /// many were raised.
    async fn raise(&self, archiver: &Archiver, heads: Vec<CopiedHead>) -> Result<u64> {
        let items = heads.iter().map(|head| {
            let mut item = conversation_item(&head.conversation);
            item.args.push(write::text(if head.conversation.is_group() { "1" } else { "0" }));
            item
        });
        let rows = self.within(self.append.run(&script::HEADS, &[], items.collect(), 128)).await?;
        let mut short = Vec::new();
        for (head, mut row) in heads.into_iter().zip(rows) {
            let (is_there, seq, version) = (row.number()? == 1, row.number()?, row.number()?);
            if is_there && (seq < head.messages || version < head.changes) {
                short.push((head, seq, version));
            }
        }
        let mut raised = 0;
        for some in short.chunks(RAISED) {
            let wanted: Vec<Range> = some
                .iter()
                .flat_map(|(head, seq, version)| {
                    let lists =
                        [(List::Messages, *seq), (List::Messages, head.messages), (List::Changes, *version)];
                    lists.map(|(list, number)| Range {
                        conversation: head.conversation.clone(),
                        list,
                        first: number,
                        last: number,
                    })
                })
                .collect();
            let mut entries = vec![bytes::Bytes::new(); wanted.len()];
            for (at, _, entry) in archiver.archive.ranges(&wanted).await? {
                entries[at] = entry;
            }
            let items: Vec<Item> = some
                .iter()
                .zip(entries.chunks_exact(3))
                .map(|((head, seq, version), found)| {
                    let mut item = conversation_item(&head.conversation);
                    item.args.extend([
                        write::number(*seq),
                        Value::Bytes(found[0].clone()),
                        write::number(head.messages),
                        Value::Bytes(found[1].clone()),
                        write::number(*version),
                        Value::Bytes(found[2].clone()),
                        write::number(head.changes),
                    ]);
                    item
                })
                .collect();
            for mut row in self.within(self.append.run(&script::RAISE, &[], items, RAISED)).await? {
                raised += row.number()?;
            }
        }
        Ok(raised)
    }

    /// Drops the weeks of the archive in which everything is too old. Redis is told
    /// before: what it says to be gone nobody looks for.
    pub(super) async fn drop_what_is_too_old(&self, archiver: &Archiver) -> Result<()> {
        if archiver.settled.state().looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        archiver.settled.state().looked = Some(Instant::now());
        let oldest = Time(Time::now().0.saturating_sub(self.bounds.age_ms()));
        for week in archiver.archive.weeks_before(oldest).await? {
            let mut after = None;
            loop {
                if !self.hold(archiver).await? {
                    return Ok(());
                }
                let found = archiver.archive.lasts(week, after, CONVERSATIONS).await?;
                let items = found.lasts.iter().map(|(conversation, list, number)| {
                    let mut item = conversation_item(conversation);
                    let kind = if *list == List::Messages { "m" } else { "c" };
                    item.args.extend([write::text(kind), write::number(*number)]);
                    item
                });
                self.within(self.append.run(&script::GONE, &[], items.collect(), 64)).await?;
                after = found.next;
                if after.is_none() {
                    break;
                }
            }
            archiver.archive.drop_week(week).await?;
            tracing::info!(week, "a week of the archive was older than --max-age, and is dropped");
            self.let_go(archiver).await?;
        }
        Ok(())
    }

    /// Lets other routers do this work.
    async fn let_go(&self, archiver: &Archiver) -> Result<()> {
        let args = vec![write::text(archiver.copier.token()), write::text(KEY)];
        self.within(self.append.run_common(&script::LET_GO, args)).await.map(|_| ())
    }

    /// Whether this work is this router's.
    async fn hold(&self, archiver: &Archiver) -> Result<bool> {
        let args = vec![
            write::text(KEY),
            write::text(archiver.copier.token()),
            write::number(u64::try_from(HELD.as_millis()).unwrap_or(u64::MAX)),
        ];
        Ok(self.within(self.append.run_common(&script::HOLD, args)).await?.number()? == 1)
    }
}
