//! Frames as protobuf.

use bytes::Bytes;
use prost::Message as _;
use proto::ConversationId;
use proto::wire;
use proto::wire::client::{self, frame, ok};

use super::entry::entry_frame;
use crate::protocol::answer::Answer;
use crate::protocol::failure::Failure;
use crate::protocol::frame::{Frame, Reference};
use crate::protocol::parts::last_seen;

/// A frame as protobuf.
pub fn encode(frame: &Frame) -> Bytes {
    let cursor = frame.cursor().map(|cursor| cursor.to_string());
    if let Frame::Event(_, event) = frame {
        // In protobuf fields may come in any order and be concatenated: the
        // cursor is each reader's own, the rest is shared.
        let shared = event.protobuf();
        let own = client::Frame { cursor, ..Default::default() };
        let mut bytes = Vec::with_capacity(own.encoded_len() + shared.len());
        own.encode(&mut bytes).expect("there is room");
        bytes.extend_from_slice(shared);
        return bytes.into();
    }
    if let Frame::Publication(publication) = frame {
        return Bytes::copy_from_slice(publication.protobuf());
    }
    to_message(frame, cursor).encode_to_vec().into()
}

/// A frame as a protobuf message, for lists of frames.
pub fn message(frame: &Frame) -> client::Frame {
    to_message(frame, frame.cursor().map(|cursor| cursor.to_string()))
}

/// Like [`message`], with another cursor than the frame's own.
pub fn message_at(frame: &Frame, cursor: Option<&str>) -> client::Frame {
    to_message(frame, cursor.map(str::to_owned))
}

fn to_message(frame: &Frame, cursor: Option<String>) -> client::Frame {
    use frame::Frame as Wire;
    let reference = |reference: &Reference| reference.as_deref().map(plain);
    let (r#ref, frame) = match frame {
        Frame::Welcome(welcome) => {
            let welcome = client::Welcome {
                user: welcome.user.clone(),
                device: welcome.device.clone(),
                session: welcome.session.clone(),
                node: welcome.node.clone(),
                resumed: welcome.resumed,
                heartbeat_ms: welcome.heartbeat_ms,
                max_body_bytes: proto::limits::MAX_BODY_BYTES as u64,
            };
            (None, Wire::Welcome(welcome))
        }
        Frame::Event(_, event) => (None, event.message()),
        Frame::Publication(publication) => (None, Wire::Publication(publication.message())),
        Frame::ChannelReset(jump) => {
            let reset = client::ChannelReset {
                channel: jump.channel.to_string(),
                seq: jump.seq.0,
                reason: jump.reason.as_str().to_owned(),
            };
            (None, Wire::ChannelReset(reset))
        }
        Frame::Sent { reference: to, conversation, sent, .. } => {
            (reference(to), Wire::Sent(sent_message(conversation, sent)))
        }
        Frame::Published { reference: to, channel, sent } => {
            (reference(to), Wire::Sent(published_message(channel.as_str(), sent)))
        }
        Frame::Ok(to, answer) => (reference(to), Wire::Ok(client::Ok { result: Some(result(answer)) })),
        Frame::Error(to, failure) => (reference(to), Wire::Error(error_message(failure))),
        Frame::Pong(to) => (reference(to), Wire::Pong(client::Pong {})),
        Frame::Typing(typing) => {
            let typing =
                client::Typing { conversation: typing.conversation.clone(), user: typing.user.clone() };
            (None, Wire::Typing(typing))
        }
        Frame::Receipt(receipt) => {
            let receipt = client::Receipt {
                conversation: receipt.conversation.clone(),
                user: receipt.user.clone(),
                kind: receipt.kind_word().to_owned(),
                seq: receipt.seq,
            };
            (None, Wire::Receipt(receipt))
        }
        Frame::Presence(one) => (None, Wire::Presence(presence(one))),
        Frame::Reset(reason, _) => (None, Wire::Reset(client::Reset { reason: reason.as_str().to_owned() })),
        Frame::Goaway(end, reconnect_in_ms) => {
            let goaway =
                client::Goaway { reason: end.as_str().to_owned(), reconnect_in_ms: *reconnect_in_ms };
            (None, Wire::Goaway(goaway))
        }
    };
    client::Frame { cursor, r#ref, frame: Some(frame) }
}

/// The answer to a `send`.
pub fn sent_message(conversation: &str, sent: &wire::Sent) -> client::Sent {
    client::Sent {
        conversation: conversation.to_owned(),
        seq: sent.seq,
        time: sent.time,
        duplicate: sent.duplicate,
        channel: None,
    }
}

/// The answer to a `send` to many.
pub fn results_message(results: &[Result<(ConversationId, wire::Sent), Failure>]) -> client::Results {
    let result = |result: &Result<(ConversationId, wire::Sent), Failure>| {
        let result = match result {
            Ok((conversation, sent)) => {
                client::result::Result::Sent(sent_message(conversation.as_str(), sent))
            }
            Err(failure) => client::result::Result::Error(error_message(failure)),
        };
        client::Result { result: Some(result) }
    };
    client::Results { results: results.iter().map(result).collect() }
}

fn error_message(failure: &Failure) -> client::Error {
    client::Error {
        code: failure.code.as_str().to_owned(),
        message: failure.message.clone(),
        retry_after_ms: failure.retry_after_ms,
    }
}

/// The answer to a `publish`.
pub fn published_message(channel: &str, sent: &wire::Sent) -> client::Sent {
    client::Sent { channel: Some(channel.to_owned()), ..sent_message("", sent) }
}

fn presence(presence: &wire::Presence) -> client::Presence {
    client::Presence { user: presence.user.clone(), online: presence.online, last_seen: last_seen(presence) }
}

/// A `ref` that was JSON: a string without its quotes, a number as it is.
fn plain(reference: &str) -> String {
    serde_json::from_str(reference).unwrap_or_else(|_| reference.to_owned())
}

fn result(answer: &Answer) -> ok::Result {
    match answer {
        Answer::Done | Answer::Sent(..) | Answer::Published(..) => ok::Result::Done(client::Done {}),
        Answer::Results(results) => ok::Result::Results(results_message(results)),
        Answer::Created(conversation) => ok::Result::Conversation(conversation.clone()),
        Answer::History(page) => ok::Result::History(client::HistoryPage {
            messages: page.messages.iter().filter_map(present_message).collect(),
            more: page.more,
        }),
        Answer::Conversations(page) => ok::Result::Conversations(client::ConversationsPage {
            conversations: page.conversations.iter().map(summary).collect(),
            page: (!page.page.is_empty()).then(|| page.page.clone()),
        }),
        Answer::Members(list) => {
            let member = |one: &wire::Member| client::Member {
                user: one.user.clone(),
                since: one.since,
                delivered_seq: one.delivered_seq,
                read_seq: one.read_seq,
                role: (!one.role.is_empty()).then(|| one.role.clone()),
            };
            ok::Result::Members(client::MemberList {
                owner: (!list.owner.is_empty()).then(|| list.owner.clone()),
                members: list.members.iter().map(member).collect(),
            })
        }
        Answer::Subscribed { seq, publications } => ok::Result::Subscribed(client::Subscribed {
            seq: seq.0,
            publications: publications.iter().map(|publication| publication.message()).collect(),
        }),
        Answer::Presence(list) => {
            ok::Result::Presence(client::PresenceList { presence: list.iter().map(presence).collect() })
        }
    }
}

fn summary(summary: &wire::Summary) -> client::Summary {
    client::Summary {
        conversation: summary.conversation.clone(),
        name: summary.name.clone(),
        head_seq: summary.head_seq,
        read_seq: summary.read_seq,
        unread: summary.unread,
        last_message: summary.last_message.as_ref().and_then(present_message),
        peer_delivered_seq: summary.peer_delivered_seq,
        peer_read_seq: summary.peer_read_seq,
    }
}

/// A message in its present state.
fn present_message(event: &wire::Event) -> Option<client::Message> {
    let frame::Frame::Message(message) = entry_frame(&event.conversation, event.seq, event.entry.as_ref()?)
    else {
        return None;
    };
    let Some(state) = &event.state else { return Some(message) };
    let reactions =
        |one: &wire::Reactions| client::Reactions { emoji: one.emoji.clone(), users: one.users.clone() };
    let recalled = state.recalled > 0;
    Some(client::Message {
        body: if recalled { Bytes::new() } else { message.body },
        edited: (state.edited > 0 && !recalled).then_some(state.edited),
        recalled: recalled.then_some(state.recalled),
        reactions: state.reactions.iter().map(reactions).collect(),
        ..message
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::wire::entry::What;

    use proto::{Position, Seq};

    use super::*;
    use crate::protocol::event::Event;

    #[test]
    fn history_in_protobuf_shows_messages_as_they_are_now() {
        let what = What::Message(wire::Message { body: "1".into(), client_msg_id: String::new() });
        let entry = Some(wire::Entry { fingerprint: 1, time: 2, by: "a".into(), what: Some(what) });
        let shown = |state| {
            let event = wire::Event { conversation: "a~b".into(), seq: 1, entry: entry.clone(), state };
            present_message(&event).unwrap()
        };
        let reactions = vec![wire::Reactions { emoji: "+".into(), users: vec!["b".into()] }];
        let edited = shown(Some(wire::State { edited: 5, recalled: 0, reactions }));
        assert_eq!((edited.body.as_ref(), edited.edited, edited.recalled), (&b"1"[..], Some(5), None));
        assert_eq!(edited.reactions[0].users, ["b"]);
        let recalled = shown(Some(wire::State { edited: 5, recalled: 6, reactions: Vec::new() }));
        assert_eq!((recalled.body.len(), recalled.edited, recalled.recalled), (0, None, Some(6)));
        assert_eq!(shown(None), shown(Some(wire::State::default())));
    }

    #[test]
    fn new_frames_have_their_protobuf_form() {
        let decoded = |frame: &Frame| client::Frame::decode(encode(frame)).unwrap();
        let entry = |what| wire::Entry { fingerprint: 40, time: 7, by: "alice".into(), what: Some(what) };
        let event = |what| Frame::Event(Position(8), Arc::new(Event::new("a~b".into(), Seq(0), entry(what))));
        let edited = decoded(&event(What::Edited(wire::Edited { seq: 3, body: "1".into() })));
        assert_eq!(edited.cursor.as_deref(), Some("8.14"));
        assert!(
            matches!(edited.frame, Some(frame::Frame::Edited(edited)) if edited.seq == 3 && edited.by == "alice")
        );
        let recalled = decoded(&event(What::Recalled(wire::Recalled { seq: 3 })));
        assert!(matches!(recalled.frame, Some(frame::Frame::Recalled(recalled)) if recalled.seq == 3));
        let reaction = wire::Reaction { seq: 3, emoji: "+".into(), on: true };
        let reaction = decoded(&event(What::Reaction(reaction)));
        assert!(
            matches!(reaction.frame, Some(frame::Frame::Reaction(reaction)) if reaction.on && reaction.user == "alice")
        );
        let presence = wire::Presence { user: "bob".into(), online: true, last_seen: 9 };
        let presence = decoded(&Frame::Presence(Arc::new(presence)));
        assert!(
            matches!(presence.frame, Some(frame::Frame::Presence(bob)) if bob.online && bob.last_seen.is_none())
        );
        let sent = Frame::Published {
            reference: None,
            channel: "c_news".parse().unwrap(),
            sent: Box::new(wire::Sent { seq: 4, ..wire::Sent::default() }),
        };
        assert!(
            matches!(decoded(&sent).frame, Some(frame::Frame::Sent(sent)) if sent.channel.as_deref() == Some("c_news") && sent.seq == 4)
        );
    }

    #[test]
    fn an_event_is_its_readers_cursor_and_what_all_share() {
        let what = What::Message(wire::Message { body: "\"hi\"".into(), client_msg_id: String::new() });
        let entry = wire::Entry { fingerprint: 40, time: 7, by: "alice".into(), what: Some(what) };
        let frame = Frame::Event(Position(8), Arc::new(Event::new("alice~bob".into(), Seq(3), entry)));
        let decoded = client::Frame::decode(encode(&frame)).unwrap();
        assert_eq!(decoded.cursor.as_deref(), Some("8.14"));
        assert_eq!(decoded, message(&frame));
        assert!(
            matches!(decoded.frame, Some(frame::Frame::Message(message)) if message.seq == 3 && message.body == "\"hi\"")
        );
    }
}
