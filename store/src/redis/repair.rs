//! Repairs: files what a crash left numbered but not filed for everyone.

use std::time::Duration;

use fred::types::Value;
use futures_util::future::try_join_all;
use proto::wire::notice::What;
use proto::wire::{Head, Notice};
use proto::{ConversationId, NodeIncarnation, Seq, UserId};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::smallvec;

use super::Redis;
use super::announce::PendingAnnouncement;
use super::connection::Item;
use super::conversation::{Start, filed_item, only, starts, state_item};
use super::fetch::EntryRequest;
use super::filing::{Filing, LogPosition, Mode};
use super::key::{BUCKETS, Bucket};
use super::reference::Kind;
use super::reply::unexpected;
use super::resp::Reply;
use super::session::user_item;
use super::{script, write};
use crate::model::{Post, PostResult};
use crate::{Error, Result};

/// The most buckets of one call.
const LOOK: usize = 128;
/// The most records of one call.
const RECORDS: usize = 512;

/// A note that something may not be filed for everyone.
struct Note {
    bucket: Bucket,
    field: String,
    token: String,
    conversation: ConversationId,
    /// The version of a change, and the members that it removes.
    removed: Option<(u64, Vec<Start>)>,
}

impl Redis {
    /// Two routers may do this at once: filing is idempotent.
    pub(super) async fn repair_older_than(&self, age: Duration) -> Result<usize> {
        let notes = self.within(self.pending(age)).await?;
        let (mut mended, mut failed) = (FxHashSet::default(), None);
        for note in notes {
            // One that cannot be repaired must not stop the others.
            match self.mend_one(&note).await {
                Ok(()) => {
                    mended.insert(note.conversation);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(mended.len()), Err)
    }

    async fn mend_one(&self, note: &Note) -> Result<()> {
        let users = self.within(self.mend(note)).await?;
        // Also where everything was filed: the router that left the note may
        // have died before announcing.
        let heads = self.within(self.heads_of(&users)).await?;
        if let Err(error) = self.announcer.notify(&self.upkeep.incarnation(), &heads).await {
            tracing::warn!(%error, "could not announce a repair");
        }
        let args = smallvec![
            Value::Integer(note.bucket.0.into()),
            write::text(&note.field),
            write::text(&note.token),
        ];
        self.append.run(&script::FINISH, &[], vec![Item::new(note.bucket, args)], 1).await?;
        Ok(())
    }

    async fn pending(&self, age: Duration) -> Result<Vec<Note>> {
        if !self.read.is_cluster() && !self.are_there_notes().await? {
            return Ok(Vec::new());
        }
        let items = (0..BUCKETS)
            .map(|number| Item::new(Bucket(number), smallvec![Value::Integer(number.into())]))
            .collect();
        let age = write::number(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let rows = self.read.run(&script::PENDING, &[age], items, LOOK).await?;
        let mut notes = Vec::new();
        for (number, mut row) in (0..BUCKETS).zip(rows) {
            while !row.is_done() {
                notes.push(note(Bucket(number), row.text()?.to_string(), &row.text()?)?);
            }
        }
        Ok(notes)
    }

    /// Whether any bucket has notes, asked with one plain command. Nearly always there
    /// are none: a script would take ten times as long to see that, each second and
    /// for each router. A Cluster has no such command for keys of several slots.
    async fn are_there_notes(&self) -> Result<bool> {
        let keys = (0..BUCKETS).map(|number| Value::from(Bucket(number).tag())).collect::<Vec<_>>();
        match self.read.command("EXISTS", 0, &keys).await? {
            Reply::Number(count) => Ok(count > 0),
            _ => Err(Error::Corrupt("redis does not say how many keys exist".into())),
        }
    }

    /// Files what is missing. Returns the users concerned.
    async fn mend(&self, note: &Note) -> Result<Vec<UserId>> {
        let Some((version, removed)) = &note.removed else {
            let (members, position) = self.members_and_head(&note.conversation).await?;
            let users = members.iter().map(|member| member.user.clone()).collect();
            self.file_up_to(&note.conversation, members, position).await?;
            self.note_again(&note.conversation, Seq(position.seq)).await?;
            return Ok(users);
        };
        let list = (note.conversation.clone(), Kind::Change);
        let fetched = self.fetch(vec![(list.clone(), EntryRequest::all([*version]))]).await?;
        let Some(change) = fetched.get(&list).and_then(|changes| changes.get(*version)) else {
            return Ok(Vec::new());
        };
        let seq = super::fetch::split_change(change)?.head;
        let users = removed.iter().map(|start| start.user.clone()).collect();
        let removed = removed.iter().map(|start| Start { leaves: true, ..start.clone() }).collect();
        self.file_up_to(&note.conversation, removed, LogPosition { seq, version: *version }).await?;
        Ok(users)
    }

    /// For each node of these users, a notice how far their inboxes reach.
    async fn heads_of(&self, users: &[UserId]) -> Result<Vec<(NodeIncarnation, Notice)>> {
        let located = self.locate_all(users).await?;
        let items = users.iter().map(user_item).collect();
        let rows = self.read.run(&script::HEAD, &[self.inbox_age()], items, RECORDS).await?;
        let mut notices = Vec::new();
        for ((user, locations), mut row) in users.iter().zip(located).zip(rows) {
            let position = row.number()?;
            let nodes: FxHashSet<_> = locations.into_iter().map(|location| location.node).collect();
            notices.extend(nodes.into_iter().map(|node| (node, head(user, position))));
        }
        Ok(notices)
    }

    /// Files a conversation up to its head for every member, and tells each
    /// node how far its users' inboxes reach: another router may have filed
    /// without announcing.
    pub(super) async fn settle_one(&self, conversation: &ConversationId) -> Result<()> {
        let (members, position) = self.members_and_head(conversation).await?;
        let users: Vec<UserId> = members.iter().map(|member| member.user.clone()).collect();
        self.file_up_to(conversation, members, position).await?;
        let heads = self.heads_of(&users).await?;
        self.announcer.notify(&self.upkeep.incarnation(), &heads).await
    }

    /// Settles the conversations of posts that were there already: the router
    /// that wrote them first may have died half way, or before it told anybody.
    pub(super) async fn settle_repeats(&self, posts: &[Post], results: &[PostResult]) -> Result<()> {
        let repeats = || {
            posts.iter().zip(results).filter_map(|(post, result)| match result {
                PostResult::Done { seq, duplicate: true, .. } => Some((&post.conversation, Some(*seq))),
                PostResult::Unchanged => Some((&post.conversation, None)),
                _ => None,
            })
        };
        let repeated: FxHashSet<_> = repeats().map(|(conversation, _)| conversation).collect();
        try_join_all(repeated.into_iter().map(|conversation| self.settle_one(conversation))).await?;
        for (conversation, seq) in repeats() {
            if let Some(seq) = seq {
                self.note_again(conversation, seq).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn members_and_head(
        &self,
        conversation: &ConversationId,
    ) -> Result<(Vec<Start>, LogPosition)> {
        let (all, item) = (write::text(""), state_item(conversation));
        let mut row = only(self.append.run(&script::CONVERSATION, &[all], vec![item], 1).await?)?;
        let position = LogPosition { seq: row.number()?, version: row.number()? };
        let (_own, _name, _owner, _roles) = (row.number()?, row.bytes()?, row.bytes()?, row.bytes()?);
        let members = row.text()?;
        Ok((starts(&members)?, position))
    }

    async fn file_up_to(
        &self,
        conversation: &ConversationId,
        members: Vec<Start>,
        to: LogPosition,
    ) -> Result<Vec<PendingAnnouncement>> {
        let items = members.iter().map(|member| filed_item(&member.user, conversation)).collect();
        let rows = self.append.run(&script::FILED, &[], items, RECORDS).await?;
        let mut from = Vec::with_capacity(rows.len());
        for (member, mut row) in members.iter().zip(rows) {
            let filed = LogPosition { seq: row.number()?, version: row.number()? };
            from.push(filed.max(LogPosition { seq: member.seq, version: member.version }));
        }
        let Some(lowest) = from.iter().copied().min().filter(|lowest| *lowest < to) else {
            return Ok(Vec::new());
        };
        let entries = self.between(conversation, lowest, to).await?;
        let mut filings = Vec::new();
        for (member, from) in members.iter().zip(from) {
            filings.extend(entries.iter().filter(|entry| entry.position > from).map(|entry| Filing {
                member: member.clone(),
                entry: entry.clone(),
                except: None,
                last: member.leaves && entry.position == to,
            }));
        }
        let outcomes = self.file_each(&filings, Mode::Missing).await?;
        self.announced(&filings, &outcomes).await
    }
}

/// Notices that tell each node how far its users' inboxes reach.
pub(super) fn heads(events: &[PendingAnnouncement]) -> Vec<(NodeIncarnation, Notice)> {
    let mut heads = FxHashMap::default();
    for (node, user, position) in events.iter().flat_map(|event| &event.targets) {
        let head = heads.entry((node.clone(), user.clone())).or_insert(0);
        *head = (*position).max(*head);
    }
    heads.into_iter().map(|((node, user), position)| (node, head(&user, position))).collect()
}

fn head(user: &UserId, position: u64) -> Notice {
    Notice {
        users: vec![user.to_string()],
        session: String::new(),
        what: Some(What::Head(Head { position })),
    }
}

fn note(bucket: Bucket, field: String, value: &str) -> Result<Note> {
    let wrong = || Error::Corrupt("a note of what was not yet filed".into());
    let mut words = value.split(' ').skip(1);
    let token = words.next().ok_or_else(wrong)?.to_owned();
    let (conversation, version) = match field.split_once(' ') {
        Some((conversation, version)) => (conversation, Some(version.parse().map_err(|_| wrong())?)),
        None => (field.as_str(), None),
    };
    let conversation = ConversationId::parse(conversation).map_err(|_| unexpected("a conversation"))?;
    let removed = match version {
        Some(version) => Some((version, starts(words.next().unwrap_or_default())?)),
        None => None,
    };
    Ok(Note { bucket, field, token, conversation, removed })
}
