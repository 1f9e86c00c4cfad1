//! The one-call way of posting: one call of `post.lua` numbers and files a
//! batch, then the router announces it. For a single server, where a script may
//! touch every key (ADR 0001).
//!
//! A router that dies between the two has told nobody. Whoever repeats a post
//! finds it done and tells how far the inboxes reach; and gateways look for
//! themselves when a router is gone.

use std::sync::Arc;

use bytes::Bytes;
use proto::{
    Bound, Cursor, Fingerprint, NodeIncarnation, Position, Seq, SessionId, StoreIncarnation, Time, UserId,
};

use smallvec::SmallVec;

use super::Redis;
use super::announce::PendingAnnouncement;
use super::archive::Senders;
use super::connection::CALL_BYTES;
use super::reply::{Row, unexpected};
use super::session::nodes_of;
use super::unheard::UnheardCandidate;
use super::{script, write};
use crate::Result;
use crate::Step;
use crate::model::{OwnPosition, Post, PostKind, PostResult};

/// The most posts of one call, so that no call blocks Redis for long.
const POSTS: usize = 256;

/// What a call says besides its rows.
struct CallSummary {
    /// The store's incarnation, as envelopes have it.
    store: Arc<str>,
    /// How many unheard messages were dropped.
    dropped: u64,
    /// Why a command was refused half way.
    refused: Option<String>,
    /// The strings `s` of those who get direct messages, in the order of
    /// [`write::looks`].
    sessions: std::vec::IntoIter<Bytes>,
}

/// What is to be told of the posts of one call.
#[derive(Default)]
struct PendingNews {
    events: Vec<PendingAnnouncement>,
    candidates: Vec<UnheardCandidate>,
}

impl Redis {
    pub(super) async fn post_at_once(
        &self,
        batch: &[Post],
        senders: &Senders,
        unsure: &mut bool,
    ) -> Result<Vec<PostResult>> {
        let mut posted = Vec::with_capacity(batch.len());
        let mut rest = batch;
        self.fail.reached(Step::Begun);
        while !rest.is_empty() {
            let call = &rest[..call_of(rest)];
            let [notes, sessions] = write::looks(call)?;
            let common = [write::bounds(&self.bounds, self.archives()), notes, sessions];
            let items = write::items(call, senders)?;
            let (summary, rows) = self.append.run_some(&script::POST, &common, &items).await?;
            self.fail.reached(Step::Filed);
            let untold = self.append.doubt().begin();
            let CallSummary { mut store, dropped, refused, mut sessions } = CallSummary::read(summary)?;
            if self.know_the_store(unsure, &self.reconnects).await? {
                // The call waited for a connection: what was there then may lack the last
                // writes, and have said the incarnation of before.
                store = self.upkeep.incarnation();
            }
            let (now, later) = rest.split_at(rows.len());
            let (mut filed, incarnation) = (PendingNews::default(), StoreIncarnation::of(&store));
            let first = posted.len();
            for (post, row) in now.iter().zip(rows) {
                let keeps_unheard = self.bounds.unheard > 0;
                posted.push(filed.read(post, row, &mut sessions, incarnation, keeps_unheard)?);
            }
            if let Err(error) = self.announcer.announce(&store, &filed.events).await {
                // The envelopes' numbers are used up: nodes that were not
                // reached notice a hole.
                tracing::warn!(%error, "could not announce what has been filed");
            }
            untold.settled();
            self.fail.reached(Step::Announced);
            self.unheard.dropped(dropped);
            self.forget_the_dead(&mut filed.events, filed.candidates).await?;
            if let Some(why) = refused {
                return Err(self.append.refused(&script::POST, &why));
            }
            if rest.len() == later.len() {
                return Err(unexpected("what became of a post"));
            }
            self.settle_repeats(now, &posted[first..]).await?;
            rest = later;
        }
        Ok(posted)
    }
}

/// How many of these posts go into one call: at least one.
pub(super) fn call_of(posts: &[Post]) -> usize {
    Bound::new(CALL_BYTES, POSTS).fitting(posts.iter().map(write::size))
}

impl CallSummary {
    fn read(mut row: Row) -> Result<Self> {
        let mut all = Vec::new();
        while !row.is_done() {
            all.push(row.bytes()?);
        }
        let text = all.pop().ok_or_else(|| unexpected("a summary"))?;
        let text = String::from_utf8_lossy(&text);
        let mut words = text.splitn(3, ' ');
        let (store, dropped) = (words.next().unwrap_or_default(), words.next());
        Ok(Self {
            store: store.into(),
            dropped: dropped.and_then(|digits| digits.parse().ok()).ok_or_else(|| unexpected("digits"))?,
            refused: words.next().map(str::to_owned),
            sessions: all.into_iter(),
        })
    }
}

impl PendingNews {
    /// Reads a row of `post.lua`: what became of a post, and whom to tell.
    fn read(
        &mut self,
        post: &Post,
        mut row: Row,
        sessions: &mut impl Iterator<Item = Bytes>,
        store: StoreIncarnation,
        keeps_unheard: bool,
    ) -> Result<PostResult> {
        let (is_message, except) = match &post.kind {
            PostKind::Message { session, .. } => (true, session.as_ref()),
            PostKind::Change(_) | PostKind::Amend { .. } => (false, None),
        };
        let of_two = write::conversation_of_two(&post.conversation, post.by.as_str());
        // They are there whatever became of the post.
        let of_two: SmallVec<[_; 2]> =
            of_two.filter(|_| is_message).into_iter().flatten().zip(sessions).collect();
        let row = row.text()?;
        let mut lines = row.split('\n');
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut word = || words.next().ok_or_else(|| unexpected("what became of a post"));
        let first = word()?;
        if !first.starts_with(|char: char| char.is_ascii_digit()) {
            let (seq, time) = (Seq(number(word()?)?), Time(number(word()?)?));
            return match first {
                "repeat" => Ok(PostResult::Done { seq, time, duplicate: true, position: None }),
                other => write::refusal(other),
            };
        }
        let (seq, own) = (Seq(number(first)?), Position(number(word()?)?));
        let others = words.next().map(number).transpose()?.unwrap_or_default();
        let mut entries = post.entries.iter();
        let mut entry = entries.next().ok_or_else(|| unexpected("a post without entries"))?;
        let (mut told, mut targets) = (Vec::new(), Vec::new());
        let candidates = &mut self.candidates;
        let mut tell = |targets: &mut Vec<_>, user: UserId, position, nodes: Vec<NodeIncarnation>| {
            if is_message && keeps_unheard && user != post.by && !nodes.is_empty() {
                candidates.push(UnheardCandidate::new(&user, &post.conversation, seq, nodes.clone()));
            }
            targets.extend(nodes.into_iter().map(|node| (node, user.clone(), position)));
        };
        for ((user, sessions), position) in of_two.iter().zip([own.0, others]) {
            if position > 0 {
                let user = UserId::parse(user).map_err(|_| unexpected("whom to tell"))?;
                tell(&mut targets, user, position, nodes_of(locations_in(sessions)?, except)?);
            }
        }
        for line in lines {
            if line.is_empty() {
                told.push(announcement(post, entry.bytes.clone(), Seq(0), std::mem::take(&mut targets)));
                if let Some(next) = entries.next() {
                    entry = next;
                }
                continue;
            }
            let (user, position, nodes) = target(line, except)?;
            tell(&mut targets, user, position, nodes);
        }
        if is_message {
            told.push(announcement(post, entry.bytes.clone(), seq, targets));
        }
        self.events.extend(told.into_iter().filter(|event| !event.targets.is_empty()));
        let time = post.entries.first().map_or(Time::default(), |entry| entry.time);
        let fingerprint = post.entries.last().map_or(Fingerprint::default(), |entry| entry.fingerprint);
        let position =
            (own.0 > 0).then_some(OwnPosition { cursor: Cursor { position: own, fingerprint }, store });
        Ok(PostResult::Done { seq, time, duplicate: false, position })
    }
}

fn announcement(
    post: &Post,
    entry: Bytes,
    seq: Seq,
    targets: Vec<(NodeIncarnation, UserId, u64)>,
) -> PendingAnnouncement {
    let (conversation, trace) = (post.conversation.clone(), post.trace.clone());
    PendingAnnouncement { conversation, seq, entry, trace, targets }
}

/// Reads the line of a member: the key of the inbox, the position, and the
/// locations, of which the nodes count that hold another session than `except`.
fn target(line: &str, except: Option<&SessionId>) -> Result<(UserId, u64, Vec<NodeIncarnation>)> {
    let wrong = || unexpected("whom to tell");
    let (key, rest) = line.split_once(' ').ok_or_else(wrong)?;
    let (position, locations) = rest.split_once(' ').ok_or_else(wrong)?;
    let (_, user) = key.split_once("i:").ok_or_else(wrong)?;
    let user = UserId::parse(user).map_err(|_| wrong())?;
    Ok((user, number(position)?, nodes_of(locations, except)?))
}

/// The locations in a string `s`: see `scripts/lib/sessions.lua`.
fn locations_in(sessions: &Bytes) -> Result<&str> {
    let base = sessions.iter().position(|byte| *byte == b' ');
    let text = base.and_then(|base| sessions.get(base + 5..)).and_then(|text| std::str::from_utf8(text).ok());
    text.ok_or_else(|| unexpected("the sessions of a user"))
}

fn number(digits: &str) -> Result<u64> {
    digits.parse().map_err(|_| unexpected("digits"))
}
