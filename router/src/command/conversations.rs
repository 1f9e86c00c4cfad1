//! `conversations`: the conversations of a user, those with the newest activity
//! first.

use proto::wire::{self, Conversations, Summary, reply};
use proto::{ConversationId, Position, UserId};
use store::model::{Conversation, Member};

use super::{history, number, shown};
use crate::core::Core;
use crate::error::{Error, Result};

/// Answers a page. The page's token is the activity of the last conversation on
/// the page before. A limit of 0 means that none was given.
pub(crate) async fn page(core: &Core, user: UserId, query: Conversations) -> Result<reply::Result> {
    let limit = history::limit(query.limit)?;
    let before = match query.page.as_str() {
        "" => None,
        text => {
            let wrong = |_| Error::BadRequest("`page` must be as the answer before gave it".to_owned());
            Some(Position(number("page", text.parse().map_err(wrong)?)?))
        }
    };
    let mut memberships = core.store.memberships(&user).await?;
    memberships.retain(|membership| before.is_none_or(|before| membership.activity < before));
    memberships.sort_unstable_by_key(|membership| std::cmp::Reverse(membership.activity));
    let more = memberships.len() > limit;
    memberships.truncate(limit);

    let ids: Vec<ConversationId> =
        memberships.iter().map(|membership| membership.conversation.clone()).collect();
    let states =
        if ids.is_empty() { Vec::new() } else { core.store.conversations(&ids, Some(&user)).await? };
    // The page may be full before the limit is reached.
    let more = more || states.len() < memberships.len();
    memberships.truncate(states.len());
    let next = if more { memberships.last().map(|membership| membership.activity) } else { None };
    let mut summaries = Vec::with_capacity(states.len());
    for (membership, state) in memberships.into_iter().zip(states) {
        // `None` when the user has left since the memberships were read.
        summaries.extend(state.and_then(|state| summary(&user, membership.conversation, state)));
    }
    let page = next.map_or_else(String::new, |activity| activity.0.to_string());
    Ok(reply::Result::Conversations(wire::ConversationsPage { conversations: summaries, page }))
}

/// `None` when the user is not a member.
fn summary(user: &UserId, conversation: ConversationId, state: Conversation) -> Option<Summary> {
    let own = state.members.iter().find(|member| member.user == *user)?;
    let peer = peer(&conversation, user, &state.members);
    // A member does not see messages from before it joined.
    let last_message = state.last_message.filter(|last| last.message.seq > own.since);
    Some(Summary {
        head_seq: state.head.0,
        read_seq: own.read.0,
        unread: state.unread,
        name: state.group.map(|group| group.name).unwrap_or_default(),
        last_message: last_message.map(shown),
        peer_delivered_seq: peer.map_or(0, |peer| peer.delivered.0),
        peer_read_seq: peer.map_or(0, |peer| peer.read.0),
        conversation: conversation.into(),
    })
}

/// The other member of a direct conversation, who may be the user, too.
fn peer<'a>(conversation: &ConversationId, user: &UserId, members: &'a [Member]) -> Option<&'a Member> {
    let (one, other) = conversation.pair()?;
    let peer = if one == *user { other } else { one };
    members.iter().find(|member| member.user == peer)
}

#[cfg(test)]
mod tests {
    use proto::Seq;

    use super::*;

    #[test]
    fn a_summary_has_the_stores_count_and_the_marks_of_both() {
        let user = UserId::parse("alice").unwrap();
        let member = |name: &str, delivered, read| Member {
            user: UserId::parse(name).unwrap(),
            since: Seq(0),
            delivered: Seq(delivered),
            read: Seq(read),
        };
        let state = Conversation {
            head: Seq(9),
            group: None,
            last_message: None,
            unread: 2,
            members: vec![member("alice", 9, 6), member("bob", 8, 7)],
        };
        let id = ConversationId::parse("alice~bob").unwrap();
        let summary = summary(&user, id, state).unwrap();
        assert_eq!((summary.unread, summary.read_seq), (2, 6));
        assert_eq!((summary.peer_delivered_seq, summary.peer_read_seq), (8, 7));
    }
}
