//! `typing`: told to the sessions of the other members, and not stored.

use proto::wire::{Notice, SayTyping, Typing, notice, reply};
use proto::{ConversationId, UserId};

use super::{done, field};
use crate::core::Core;
use crate::error::{NO_CONVERSATION, Result};
use crate::members::Members;
use crate::receipts;

/// Answers when the notices are on their way.
pub(crate) async fn say(core: &Core, user: UserId, say: SayTyping) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", &say.conversation)?;
    let mut others = match conversation.pair() {
        Some((one, other)) if user == one || user == other => vec![one, other],
        Some(_) => return Err(NO_CONVERSATION),
        None => members(core, &user, &conversation).await?.to_vec(),
    };
    others.retain(|other| *other != user);
    others.dedup();
    let locations = receipts::locations(&*core.store, others.iter()).await?;
    for (node, users) in receipts::by_node(&others, &locations) {
        let typing = Typing { conversation: conversation.to_string(), user: user.to_string() };
        let what = Some(notice::What::Typing(typing));
        receipts::send(&core.notices, node, Notice { users, session: String::new(), what });
    }
    Ok(done())
}

/// The members of a group that the user is in. For a second this may not know who
/// has joined or left. Only when the user is not among them, it is read again.
async fn members(core: &Core, user: &UserId, group: &ConversationId) -> Result<Members> {
    let (mut members, fresh) = core.groups.of(group).await?;
    if !members.contains(user) && !fresh {
        members = core.groups.read(std::slice::from_ref(group)).await?.remove(0);
    }
    if members.contains(user) { Ok(members) } else { Err(NO_CONVERSATION) }
}
