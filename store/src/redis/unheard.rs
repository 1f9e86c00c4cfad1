//! Messages for members who have no session, in one queue for the whole store
//! until they are reported. The one-call way notes them in its script, but for
//! those whose sessions turn out to be on dead nodes. These, and all of the
//! stepwise way, are noted after filing and before the answer. A router that
//! dies in between has the post repeated, or leaves a note for a repair; either
//! does it again.

use std::time::Duration;

use proto::wire::Entry;
use proto::{ConversationId, NodeIncarnation, Seq, UserId};
use rustc_hash::FxHashSet;

use super::Redis;
use super::fetch::EntryRequest;
use super::filing::Filing;
use super::reference::Kind;
use super::reply::unexpected;
use super::{script, write};
use crate::Result;
use crate::model::UnheardMessage;

/// A message that was filed for a member, and the nodes of the member's
/// sessions.
pub(super) struct UnheardCandidate {
    id: String,
    nodes: Vec<NodeIncarnation>,
}

impl UnheardCandidate {
    /// `None` unless it is a message that somebody else has sent.
    pub(super) fn of(filing: &Filing, nodes: &[NodeIncarnation]) -> Option<Self> {
        let (entry, user) = (&filing.entry, &filing.member.user);
        let wanted = entry.kind == Kind::Message && entry.by != *user;
        wanted.then(|| Self::new(user, &entry.conversation, Seq(entry.position.seq), nodes.to_vec()))
    }

    /// A message for a user, with the nodes of the user's sessions.
    pub(super) fn new(
        user: &UserId,
        conversation: &ConversationId,
        seq: Seq,
        nodes: Vec<NodeIncarnation>,
    ) -> Self {
        Self { id: id(user, conversation, seq), nodes }
    }
}

impl Redis {
    /// Notes the messages whose members have no session, or only sessions on
    /// dead nodes.
    pub(super) async fn note_unheard(
        &self,
        candidates: Vec<UnheardCandidate>,
        dead: &FxHashSet<NodeIncarnation>,
    ) -> Result<()> {
        let unheard = candidates.into_iter().filter(|one| one.nodes.iter().all(|node| dead.contains(node)));
        self.keep_unheard(unheard.map(|one| one.id).collect()).await
    }

    /// The same for a message that is filed already, where it is not known
    /// whether it was noted. So a message that was reported may be reported
    /// again.
    pub(super) async fn note_again(&self, conversation: &ConversationId, seq: Seq) -> Result<()> {
        if self.bounds.unheard == 0 {
            return Ok(());
        }
        let list = (conversation.clone(), Kind::Message);
        let fetched = self.fetch(vec![(list.clone(), EntryRequest::all([seq.0]))]).await?;
        let Some(messages) = fetched.get(&list) else { return Ok(()) };
        let Some(Entry { by, .. }) = messages.message(conversation, seq.0)? else { return Ok(()) };
        let (members, _) = self.members_and_head(conversation).await?;
        let others = members.into_iter().filter(|member| member.user.as_str() != by && member.seq < seq.0);
        let users: Vec<UserId> = others.map(|member| member.user).collect();
        let located = self.locate_all(&users).await?;
        let away = users.iter().zip(&located).filter(|(_, locations)| locations.is_empty());
        self.keep_unheard(away.map(|(user, _)| id(user, conversation, seq)).collect()).await
    }

    async fn keep_unheard(&self, ids: Vec<String>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut args = vec![write::number(self.bounds.unheard)];
        args.extend(ids.iter().map(|id| write::text(id)));
        let dropped = self.append.run_common(&script::UNHEARD, args).await?.number()?;
        self.unheard.dropped(dropped);
        Ok(())
    }

    pub(super) async fn hold_unheard(&self, limit: usize, hold: Duration) -> Result<Vec<UnheardMessage>> {
        let hold = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        let args = vec![write::number(limit as u64), write::number(hold)];
        let mut row = self.append.run_common(&script::TAKE_UNHEARD, args).await?;
        let mut taken = Vec::new();
        while !row.is_done() {
            taken.push(
                UnheardMessage::of_id(row.text()?.to_string())
                    .ok_or_else(|| unexpected("an unheard message"))?,
            );
        }
        Ok(taken)
    }

    /// Removes messages that were reported. Returns how many wait.
    pub(super) async fn forget_unheard(&self, told: &[UnheardMessage]) -> Result<u64> {
        let args = told.iter().map(|unheard| write::text(&unheard.id)).collect();
        self.append.run_common(&script::HEARD, args).await?.number()
    }
}

fn id(user: &UserId, conversation: &ConversationId, seq: Seq) -> String {
    UnheardMessage::new(user.clone(), conversation.clone(), seq).id
}
