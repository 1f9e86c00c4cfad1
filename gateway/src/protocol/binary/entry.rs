//! Entries of logs as protobuf: what several readers share.

use bytes::Bytes;
use proto::wire::client::{self, frame};
use proto::wire::{self, entry::What};

use crate::protocol::parts::change_word;

/// What was published.
pub fn publication_message(publication: wire::Publication) -> client::Publication {
    let entry = publication.entry.unwrap_or_default();
    let body = match entry.what {
        Some(What::Message(message)) => message.body,
        _ => Bytes::new(),
    };
    client::Publication {
        channel: publication.channel,
        seq: publication.seq,
        from: entry.by,
        time: entry.time,
        body,
    }
}

/// An entry at its place, as the frame that shows it.
pub fn entry_frame(conversation: &str, seq: u64, entry: &wire::Entry) -> frame::Frame {
    match &entry.what {
        Some(What::Change(change)) => frame::Frame::Conversation(client::Change {
            conversation: conversation.to_owned(),
            change: change_word(change.kind()).to_owned(),
            by: entry.by.clone(),
            time: entry.time,
            name: (!change.name.is_empty()).then(|| change.name.clone()),
            members: change.members.clone(),
            user: (!change.user.is_empty()).then(|| change.user.clone()),
            role: (!change.role.is_empty()).then(|| change.role.clone()),
        }),
        Some(What::Edited(edited)) => frame::Frame::Edited(client::Edited {
            conversation: conversation.to_owned(),
            seq: edited.seq,
            body: edited.body.clone(),
            time: entry.time,
            by: entry.by.clone(),
        }),
        Some(What::Recalled(recalled)) => frame::Frame::Recalled(client::Recalled {
            conversation: conversation.to_owned(),
            seq: recalled.seq,
            time: entry.time,
            by: entry.by.clone(),
        }),
        Some(What::Reaction(reaction)) => frame::Frame::Reaction(client::Reaction {
            conversation: conversation.to_owned(),
            seq: reaction.seq,
            user: entry.by.clone(),
            emoji: reaction.emoji.clone(),
            on: reaction.on,
            time: entry.time,
        }),
        other => {
            let message = match other {
                Some(What::Message(message)) => message.clone(),
                _ => wire::Message::default(),
            };
            frame::Frame::Message(client::Message {
                conversation: conversation.to_owned(),
                seq,
                from: entry.by.clone(),
                time: entry.time,
                body: message.body,
                client_msg_id: (!message.client_msg_id.is_empty()).then_some(message.client_msg_id),
                ..client::Message::default()
            })
        }
    }
}
