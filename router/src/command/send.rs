//! `send`: a message for a conversation.

use bytes::Bytes;
use proto::wire::{self, reply};
use proto::{ClientMessageId, ConversationId, SessionId, Time, UserId};
use store::model::{NewEntry, Post, PostKind, PostResult};

use super::{check_body, field, new_message};
use crate::error::{Error, NO_CONVERSATION, Result};

/// The store's call for a message.
pub(crate) fn post(user: UserId, send: wire::Send) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &send.conversation)?;
    let session: Option<SessionId> = match send.session.as_str() {
        "" => None,
        text => Some(field("session", text)?),
    };
    if !conversation.admits(&user) {
        return Err(NO_CONVERSATION);
    }
    let (entry, id) = message(&user, &send.body, &send.client_msg_id, send.hidden_id)?;
    Ok(Post {
        entries: [entry].into(),
        conversation,
        by: user,
        kind: PostKind::Message { repeat_key: id.into(), session },
        trace: Bytes::new(),
    })
}

/// Checks and encodes a message. Gives its `client_msg_id`, too, by which repeats
/// are found; readers do not see that id when it is `hidden`.
pub(super) fn message(
    user: &UserId,
    body: &[u8],
    client_msg_id: &str,
    hidden: bool,
) -> Result<(NewEntry, ClientMessageId)> {
    let id: ClientMessageId = field("client_msg_id", client_msg_id)?;
    check_body(body)?;
    let shown = if hidden { "" } else { client_msg_id };
    Ok((new_message(user, Time::now(), body, shown), id))
}

/// The answer to a message.
pub(crate) fn sent(posted: PostResult) -> Result<reply::Result> {
    match posted {
        PostResult::Done { seq, time, duplicate, position } => {
            let position = position.unwrap_or_default();
            Ok(reply::Result::Sent(wire::Sent {
                seq: seq.0,
                time: time.0,
                duplicate,
                position: position.cursor.position.0,
                fingerprint: position.cursor.fingerprint.0,
                store: position.store.0,
            }))
        }
        PostResult::NotMember => Err(NO_CONVERSATION),
        PostResult::NotAllowed => Err(Error::forbidden("a reader of a group does not write")),
        other => {
            tracing::error!(?other, "the store's answer is none to a message");
            Err(Error::Internal)
        }
    }
}
