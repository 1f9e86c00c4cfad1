//! Messages for members who have no session, until they are told by other
//! means: one queue for the whole store. On a single server posting notes them
//! itself; step by step it is a call after filing and before the answer, and
//! whoever died between the two left a note that has it done again.

use std::time::Duration;

use proto::wire::Entry;
use proto::{ConversationId, NodeIncarnation, Seq, UserId};
use rustc_hash::FxHashSet;

use super::Redis;
use super::fetch::{Wanted, decode};
use super::filing::Filing;
use super::reference::Kind;
use super::reply::unexpected;
use super::{script, write};
use crate::Result;
use crate::damage::unless_damaged;
use crate::model::Unheard;

/// What was filed for a member, and the nodes of its sessions.
pub(super) struct Doubtful {
    id: String,
    nodes: Vec<NodeIncarnation>,
}

impl Doubtful {
    /// Of a message by somebody else.
    pub(super) fn of(filing: &Filing, nodes: &[NodeIncarnation]) -> Option<Self> {
        let (entry, user) = (&filing.entry, &filing.member.user);
        let wanted = entry.kind == Kind::Message && entry.by != *user;
        wanted
            .then(|| Self { id: id(user, &entry.conversation, Seq(entry.place.seq)), nodes: nodes.to_vec() })
    }
}

impl Redis {
    /// Notes those whose sessions are all on dead nodes, and who have none.
    pub(super) async fn note_unheard(
        &self,
        doubtful: Vec<Doubtful>,
        dead: &FxHashSet<NodeIncarnation>,
    ) -> Result<()> {
        let unheard = doubtful.into_iter().filter(|one| one.nodes.iter().all(|node| dead.contains(node)));
        self.keep_unheard(unheard.map(|one| one.id).collect()).await
    }

    /// The same for a message that is filed already, where it is not known
    /// whether that came to an end. What has been told may so be told again.
    pub(super) async fn note_again(&self, conversation: &ConversationId, seq: Seq) -> Result<()> {
        if self.bounds.unheard == 0 {
            return Ok(());
        }
        let list = (conversation.clone(), Kind::Message);
        let fetched = self.fetch(vec![(list.clone(), Wanted::all([seq.0]))]).await?;
        let Some(entry) = fetched.get(&list).and_then(|messages| messages.get(seq.0)) else {
            return Ok(());
        };
        let read =
            unless_damaged(decode(entry.clone()), format_args!("message {} of {conversation}", seq.0))?;
        let Some(Entry { by, .. }) = read else { return Ok(()) };
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

    pub(super) async fn hold_unheard(&self, limit: usize, hold: Duration) -> Result<Vec<Unheard>> {
        let hold = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        let args = vec![write::number(limit as u64), write::number(hold)];
        let mut row = self.append.run_common(&script::TAKE_UNHEARD, args).await?;
        let mut taken = Vec::new();
        while !row.is_done() {
            taken.push(
                Unheard::of_id(row.text()?.to_string()).ok_or_else(|| unexpected("an unheard message"))?,
            );
        }
        Ok(taken)
    }

    /// Returns how many wait then.
    pub(super) async fn forget_unheard(&self, told: &[Unheard]) -> Result<u64> {
        let args = told.iter().map(|unheard| write::text(&unheard.id)).collect();
        self.append.run_common(&script::HEARD, args).await?.number()
    }
}

fn id(user: &UserId, conversation: &ConversationId, seq: Seq) -> String {
    Unheard::new(user.clone(), conversation.clone(), seq).id
}
