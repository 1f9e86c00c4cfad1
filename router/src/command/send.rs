//! `send`: a message for a conversation.

use proto::wire::{self, entry, reply};
use proto::{ClientMessageId, ConversationId, SessionId, UserId};
use store::model::{Post, PostKind, Posted};

use super::{check_body, field, may_be_in, new_entry, now};
use crate::error::{Error, NO_CONVERSATION, Result};

/// What is asked of the store.
pub(crate) fn post(user: UserId, send: wire::Send) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &send.conversation)?;
    let id: ClientMessageId = field("client_msg_id", &send.client_msg_id)?;
    let session: Option<SessionId> = match send.session.as_str() {
        "" => None,
        text => Some(field("session", text)?),
    };
    check_body(&send.body)?;
    if !may_be_in(&conversation, &user) {
        return Err(NO_CONVERSATION);
    }
    let client_msg_id = if send.hidden_id { String::new() } else { id.to_string() };
    let message = wire::Message { body: send.body, client_msg_id };
    Ok(Post {
        entries: vec![new_entry(&user, now(), entry::What::Message(message))],
        conversation,
        by: user,
        kind: PostKind::Message { repeat_key: id.as_str().into(), session },
    })
}

/// What is answered.
pub(crate) fn sent(posted: Posted) -> Result<reply::Result> {
    match posted {
        Posted::Done { seq, time, duplicate, place } => {
            let place = place.unwrap_or_default();
            Ok(reply::Result::Sent(wire::Sent {
                seq: seq.0,
                time,
                duplicate,
                position: place.cursor.position.0,
                fingerprint: place.cursor.fingerprint.0,
                store: place.store.0,
            }))
        }
        Posted::NotMember => Err(NO_CONVERSATION),
        other => {
            tracing::error!(?other, "the store's answer is none to a message");
            Err(Error::Internal)
        }
    }
}
