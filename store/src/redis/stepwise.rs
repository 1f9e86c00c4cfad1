//! The stepwise way of posting: number, file, wait for replicas, announce. For
//! a Cluster, where a script touches one bucket, and with replicas, which must
//! have what is announced (ADR 0001).

use std::sync::Arc;

use proto::{Cursor, Fingerprint, Position, Seq, StoreIncarnation, Time};
use smallvec::smallvec;

use super::Redis;
use super::archive::Senders;
use super::connection::Item;
use super::conversation::starts;
use super::filing::{Filing, LogEntry, LogPosition, Outcome};
use super::key::Bucket;
use super::reference::Kind;
use super::reply::Row;
use super::single::call_of;
use super::{script, write};
use crate::Step;
use crate::model::{OwnPosition, Post, PostKind, PostResult};
use crate::{Error, Result};

/// The most posts of one call; a batch has no more.
const POSTS: usize = 256;
/// The most notes that one call removes.
const NOTES: usize = 256;

/// Notes of unfiled entries that can be removed, since the entries are filed
/// now. The next batch removes them, so they cost no round trip.
#[derive(Default)]
pub(super) struct Notes {
    filed: Vec<(Bucket, String, String)>,
    /// The connection is a new one, so the store may be another one.
    pub(super) unsure: bool,
}

/// A post after numbering.
struct NumberedPost {
    answer: NumberResult,
    filings: std::ops::Range<usize>,
}

enum NumberResult {
    Refused(PostResult),
    /// The amendment changes nothing.
    Unchanged,
    Repeat {
        seq: Seq,
        time: Time,
    },
    New {
        seq: Seq,
        time: Time,
        fingerprint: Fingerprint,
    },
}

impl Redis {
    pub(super) async fn post_stepwise(
        &self,
        batch: &[Post],
        senders: &Senders,
        notes: &mut Notes,
    ) -> Result<Vec<PostResult>> {
        let mut posted = Vec::with_capacity(batch.len());
        let mut rest = batch;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(call_of(rest));
            posted.extend(self.post_some(now, senders, notes).await?);
            rest = later;
        }
        Ok(posted)
    }

    async fn post_some(
        &self,
        posts: &[Post],
        senders: &Senders,
        notes: &mut Notes,
    ) -> Result<Vec<PostResult>> {
        self.fail.reached(Step::Begun);
        // Read before anything is written: a position of this incarnation also
        // holds in a newer one.
        let store = StoreIncarnation::of(&self.upkeep.incarnation());
        let token = format!("{:016x}", rand::random::<u64>());
        let common = [write::bounds(&self.bounds, self.archives()), write::text(&token)];
        let items = write::items(posts, senders)?;
        let number = self.append.run(&script::NUMBER, &common, items, POSTS);
        let (rows, ()) = tokio::try_join!(number, self.finish(notes))?;
        self.fail.reached(Step::Numbered);

        let (mut numbered, mut filings, mut fresh) =
            (Vec::with_capacity(posts.len()), Vec::new(), Vec::new());
        for (post, row) in posts.iter().zip(rows) {
            let first = filings.len();
            let answer = number_of(post, row, &mut filings)?;
            if !matches!(answer, NumberResult::Refused(_)) {
                let bucket = Bucket::of(post.conversation.as_str());
                fresh.push((bucket, post.conversation.to_string(), token.clone()));
                if let (Some(last), PostKind::Change(change)) = (filings.last(), &post.kind)
                    && !change.remove.is_empty()
                {
                    let field = format!("{} {}", post.conversation, last.entry.position.version);
                    fresh.push((bucket, field, token.clone()));
                }
            }
            numbered.push(NumberedPost { answer, filings: first..filings.len() });
        }
        let whom: Vec<_> = filings.iter().map(|filing| filing.member.user.clone()).collect();
        let (outcomes, events) = self.file(filings).await?;
        let answers =
            posts.iter().zip(numbered).map(|(post, NumberedPost { answer, filings })| match answer {
                NumberResult::Refused(posted) => posted,
                NumberResult::Unchanged => PostResult::Unchanged,
                NumberResult::Repeat { seq, time } => {
                    PostResult::Done { seq, time, duplicate: true, position: None }
                }
                NumberResult::New { seq, time, fingerprint } => {
                    let own = filings.rev().find(|index| whom[*index] == post.by);
                    let position = own.and_then(|index| outcomes.get(index)).and_then(Outcome::position);
                    let position = position.map(|position| OwnPosition {
                        cursor: Cursor { position: Position(position), fingerprint },
                        store,
                    });
                    PostResult::Done { seq, time, duplicate: false, position }
                }
            });
        let answers: Vec<PostResult> = answers.collect();
        self.settle_repeats(posts, &answers).await?;
        self.wait_for_replicas().await?;
        self.fail.reached(Step::Filed);
        self.know_the_store(&mut notes.unsure, &self.reconnects).await?;
        if store != StoreIncarnation::of(&self.upkeep.incarnation()) {
            // Whether the new history has the posts is not known: who repeats them is told,
            // and until then their notes stay.
            return Err(Error::Unavailable("redis has lost its last writes, or is another one".into()));
        }
        notes.filed.extend(fresh);
        if let Err(error) = self.announcer.announce(&self.upkeep.incarnation(), &events).await {
            // The envelopes' numbers are used up: nodes that were not reached
            // notice a hole.
            tracing::warn!(%error, "could not announce what has been filed");
        }
        self.fail.reached(Step::Announced);

        Ok(answers)
    }

    /// Removes the notes of what has been filed.
    pub(super) async fn finish(&self, notes: &mut Notes) -> Result<()> {
        let items = std::mem::take(&mut notes.filed)
            .into_iter()
            .map(|(bucket, field, token)| {
                Item::new(
                    bucket,
                    smallvec![
                        fred::types::Value::Integer(bucket.0.into()),
                        write::text(&field),
                        write::text(&token),
                    ],
                )
            })
            .collect();
        // If this fails, the notes stay, and a repair finds nothing to do.
        self.append.run(&script::FINISH, &[], items, NOTES).await?;
        Ok(())
    }
}

fn number_of(post: &Post, mut row: Row, filings: &mut Vec<Filing>) -> Result<NumberResult> {
    let (status, seq, version, time) = (row.text()?, row.number()?, row.number()?, Time(row.number()?));
    match &*status {
        "ok" => {}
        "repeat" => return Ok(NumberResult::Repeat { seq: Seq(seq), time }),
        "same" => return Ok(NumberResult::Unchanged),
        other => return Ok(NumberResult::Refused(write::refusal(other)?)),
    }
    // The script does not return the members of a direct conversation: its id
    // has them.
    let members = match row.text()? {
        text if text.is_empty() => starts(&write::direct_members(&post.conversation))?,
        text => starts(&text)?,
    };
    let amends = match &post.kind {
        PostKind::Amend { seq, .. } => seq.0,
        PostKind::Message { .. } | PostKind::Change(_) => 0,
    };
    let (kind, except) = match &post.kind {
        PostKind::Message { session, .. } => (Kind::Message, session.clone()),
        PostKind::Change(_) | PostKind::Amend { .. } => (Kind::Change, None),
    };
    for (index, entry) in post.entries.iter().enumerate() {
        let position = match kind {
            Kind::Message => LogPosition { seq, version },
            Kind::Change => LogPosition { seq, version: version + index as u64 + 1 },
        };
        let log_entry = Arc::new(LogEntry {
            conversation: post.conversation.clone(),
            kind,
            position,
            amends,
            fingerprint: entry.fingerprint.0,
            time: entry.time.0,
            by: post.by.clone(),
            bytes: entry.bytes.clone(),
            trace: post.trace.clone(),
        });
        filings.extend(members.iter().map(|member| Filing {
            member: member.clone(),
            entry: log_entry.clone(),
            except: except.clone(),
            last: member.leaves && index + 1 == post.entries.len(),
        }));
    }
    let time = post.entries.first().map_or(Time::default(), |entry| entry.time);
    let fingerprint = post.entries.last().map(|entry| entry.fingerprint).unwrap_or_default();
    let seq = if amends > 0 { amends } else { seq };
    Ok(NumberResult::New { seq: Seq(seq), time, fingerprint })
}
