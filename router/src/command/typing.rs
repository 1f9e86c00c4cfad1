//! `typing`: told to the sessions of the other members, and nowhere kept.

use proto::wire::{Notice, SayTyping, Typing, notice, reply};
use proto::{ConversationId, UserId};

use super::{field, group};
use crate::dispatch::{Core, done};
use crate::error::{NO_CONVERSATION, Result};
use crate::receipts;

/// Answers when the notices are on their way.
pub(crate) async fn say(core: &Core, user: UserId, say: SayTyping) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", &say.conversation)?;
    let mut others = match conversation.pair() {
        Some((one, other)) if user == one || user == other => vec![one, other],
        Some(_) => return Err(NO_CONVERSATION),
        None => {
            let state = group::state(core, &user, &conversation).await?;
            state.members.into_iter().map(|member| member.user).collect()
        }
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
