//! The protobuf form of commands and frames (`client.proto`): the same
//! vocabulary, checked by the same rules.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use prost::Message as _;
use proto::wire::client::{self, command, frame, ok};
use proto::wire::{self, entry::What, receipt};
use serde_json::value::RawValue;

use crate::answer::Answer;
use crate::event::change_word;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::frame::{Frame, Reference, last_seen};

/// Of requests and answers in protobuf over HTTP.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// Whether an answer is wanted in protobuf.
pub fn accepts_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(is_protobuf)
}

/// Whether a media type is protobuf, whatever its parameters.
pub fn is_protobuf(media_type: &str) -> bool {
    let name = media_type.split(';').next().unwrap_or_default();
    name.trim().eq_ignore_ascii_case(CONTENT_TYPE)
}

/// A command's `type` and fields, to be checked like those of a JSON frame;
/// `ref` and `as` are among them.
pub fn decode(bytes: &[u8]) -> Result<(&'static str, Fields<'static>), Failure> {
    let command = client::Command::decode(bytes)
        .map_err(|error| Failure::bad_request(format!("not a protobuf Command: {error}")))?;
    let mut fields = Fields::empty();
    if let Some(reference) = &command.r#ref {
        fields.set_json("ref", json(reference));
    }
    set(&mut fields, "as", command.r#as);
    let kind = match command.command {
        Some(command) => fill(&mut fields, command)?,
        None => return Err(Failure::bad_request("the Command has no command that is known here")),
    };
    Ok((kind, fields))
}

/// Whether a command of this kind may come over HTTP as its own message.
pub fn comes_alone(kind: &str) -> bool {
    matches!(kind, "send" | "publish")
}

/// The fields of such a command, as HTTP has it.
pub fn decode_alone<'a>(kind: &str, bytes: &[u8]) -> Result<Fields<'a>, Failure> {
    let wrong = |error| Failure::bad_request(format!("not the protobuf message of `{kind}`: {error}"));
    let command = match kind {
        "send" => command::Command::Send(client::Send::decode(bytes).map_err(wrong)?),
        "publish" => command::Command::Publish(client::Publish::decode(bytes).map_err(wrong)?),
        _ => return Err(Failure::bad_request(format!("`{kind}` does not come as protobuf"))),
    };
    let mut fields = Fields::empty();
    fill(&mut fields, command)?;
    Ok(fields)
}

fn fill(fields: &mut Fields<'_>, command: command::Command) -> Result<&'static str, Failure> {
    use command::Command;
    Ok(match command {
        Command::Send(send) => {
            set(fields, "to", send.to);
            set(fields, "conversation", send.conversation);
            set(fields, "client_msg_id", send.client_msg_id);
            set_body(fields, send.body)?;
            "send"
        }
        Command::Ack(ack) => {
            set(fields, "cursor", Some(ack.cursor));
            "ack"
        }
        Command::Read(read) => {
            set(fields, "conversation", Some(read.conversation));
            set(fields, "seq", Some(read.seq));
            "read"
        }
        Command::Typing(typing) => {
            set(fields, "conversation", Some(typing.conversation));
            "typing"
        }
        Command::History(history) => {
            set(fields, "conversation", Some(history.conversation));
            set(fields, "before", history.before);
            set(fields, "after", history.after);
            set(fields, "limit", history.limit);
            "history"
        }
        Command::Conversations(conversations) => {
            set(fields, "limit", conversations.limit);
            set(fields, "page", conversations.page);
            "conversations"
        }
        Command::CreateGroup(group) => {
            set(fields, "name", Some(group.name));
            fields.set_json("members", json(&group.members));
            "create_group"
        }
        Command::Members(members) => {
            set(fields, "conversation", Some(members.conversation));
            "members"
        }
        Command::AddMembers(added) => {
            set(fields, "conversation", Some(added.conversation));
            fields.set_json("members", json(&added.members));
            "add_members"
        }
        Command::RemoveMember(removed) => {
            set(fields, "conversation", Some(removed.conversation));
            set(fields, "user", Some(removed.user));
            "remove_member"
        }
        Command::Rename(rename) => {
            set(fields, "conversation", Some(rename.conversation));
            set(fields, "name", Some(rename.name));
            "rename"
        }
        Command::Edit(edit) => {
            set(fields, "conversation", Some(edit.conversation));
            set(fields, "seq", Some(edit.seq));
            set_body(fields, edit.body)?;
            "edit"
        }
        Command::Recall(recall) => {
            set(fields, "conversation", Some(recall.conversation));
            set(fields, "seq", Some(recall.seq));
            "recall"
        }
        Command::React(react) => {
            set(fields, "conversation", Some(react.conversation));
            set(fields, "seq", Some(react.seq));
            set(fields, "emoji", Some(react.emoji));
            set(fields, "on", react.on);
            "react"
        }
        Command::Presence(presence) => {
            fields.set_json("users", json(&presence.users));
            set(fields, "watch", presence.watch);
            "presence"
        }
        Command::Subscribe(subscribe) => {
            set(fields, "channel", Some(subscribe.channel));
            set(fields, "after", subscribe.after);
            "subscribe"
        }
        Command::Unsubscribe(unsubscribe) => {
            set(fields, "channel", Some(unsubscribe.channel));
            "unsubscribe"
        }
        Command::Publish(publish) => {
            set(fields, "channel", Some(publish.channel));
            set(fields, "client_msg_id", publish.client_msg_id);
            set_body(fields, publish.body)?;
            "publish"
        }
        Command::Auth(auth) => {
            set(fields, "token", Some(auth.token));
            "auth"
        }
        Command::Ping(_) => "ping",
    })
}

fn set(fields: &mut Fields<'_>, name: &'static str, value: Option<impl ToString>) {
    if let Some(value) = value {
        fields.set(name, value.to_string());
    }
}

fn set_body(fields: &mut Fields<'_>, body: Option<Bytes>) -> Result<(), Failure> {
    if let Some(body) = body {
        fields.set_json("body", body_json(&body)?);
    }
    Ok(())
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and lists of texts are always JSON")
}

/// A body is JSON in protobuf, too: readers on other transports get it as it is.
fn body_json(body: &[u8]) -> Result<String, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::bad_request("`body` is not valid UTF-8"))?;
    Fields::check_depth(text)?;
    serde_json::from_str::<&RawValue>(text)
        .map_err(|error| Failure::bad_request(format!("`body` is not valid JSON: {error}")))?;
    Ok(text.trim().to_owned())
}

/// A frame as protobuf.
pub fn encode(frame: &Frame) -> Bytes {
    let cursor = frame.cursor().map(|cursor| cursor.to_string());
    if let Frame::Event(_, event) = frame {
        // Fields may come in any order and from several pieces: the cursor is
        // each reader's own, the rest is shared.
        let mut bytes = client::Frame { cursor, ..Default::default() }.encode_to_vec();
        bytes.extend_from_slice(event.protobuf());
        return bytes.into();
    }
    if let Frame::Publication(publication) = frame {
        return Bytes::copy_from_slice(publication.protobuf());
    }
    to_message(frame, cursor).encode_to_vec().into()
}

/// A frame as a message, for those that list several.
pub fn message(frame: &Frame) -> client::Frame {
    to_message(frame, frame.cursor().map(|cursor| cursor.to_string()))
}

/// As [`message`], with a cursor that has more in it than the frame knows.
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
                max_body_bytes: crate::command::MAX_BODY_BYTES as u64,
            };
            (None, Wire::Welcome(welcome))
        }
        Frame::Event(_, event) => (None, event.message()),
        Frame::Publication(publication) => (None, Wire::Publication(publication.message())),
        Frame::Sent { reference: to, conversation, sent, .. } => {
            (reference(to), Wire::Sent(sent_message(conversation, sent)))
        }
        Frame::Published { reference: to, channel, sent } => {
            (reference(to), Wire::Sent(published_message(channel.as_str(), sent)))
        }
        Frame::Ok(to, answer) => (reference(to), Wire::Ok(client::Ok { result: Some(result(answer)) })),
        Frame::Error(to, failure) => {
            let error = client::Error {
                code: failure.code.as_str().to_owned(),
                message: failure.message.clone(),
                retry_after_ms: failure.retry_after_ms,
            };
            (reference(to), Wire::Error(error))
        }
        Frame::Pong(to) => (reference(to), Wire::Pong(client::Pong {})),
        Frame::Typing(typing) => {
            let typing =
                client::Typing { conversation: typing.conversation.clone(), user: typing.user.clone() };
            (None, Wire::Typing(typing))
        }
        Frame::Receipt(receipt) => {
            let kind = if receipt.kind() == receipt::Kind::Read { "read" } else { "delivered" };
            let receipt = client::Receipt {
                conversation: receipt.conversation.clone(),
                user: receipt.user.clone(),
                kind: kind.to_owned(),
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

/// The answer to a `publish`.
pub fn published_message(channel: &str, sent: &wire::Sent) -> client::Sent {
    client::Sent { channel: Some(channel.to_owned()), ..sent_message("", sent) }
}

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::{Position, Seq};

    use super::*;
    use crate::command::{Command, Recipient};
    use crate::event::Event;

    fn send(body: &'static [u8]) -> Vec<u8> {
        let send = client::Send {
            to: Some("bob".into()),
            body: Some(Bytes::from_static(body)),
            ..Default::default()
        };
        let command = Some(command::Command::Send(send));
        client::Command { r#ref: Some("r".into()), command, ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn a_command_is_read_by_the_same_rules_as_json() {
        let bytes = send(b" {\"a\":1}\n");
        let (kind, fields) = decode(&bytes).unwrap();
        let command = Command::parse(kind, &fields).unwrap();
        let expected = Command::Send {
            to: Recipient::User("bob".parse().unwrap()),
            body: "{\"a\":1}".into(),
            client_msg_id: None,
        };
        assert_eq!(command, expected);
        assert_eq!(fields.reference().unwrap().as_deref(), Some("\"r\""));
    }

    fn parsed(command: command::Command) -> Result<Command, Failure> {
        let bytes = client::Command { command: Some(command), ..Default::default() }.encode_to_vec();
        let (kind, fields) = decode(&bytes)?;
        Command::parse(kind, &fields)
    }

    #[test]
    fn the_rest_of_the_vocabulary_is_read_alike() {
        use command::Command as Wire;
        let (conversation, channel) = (|| "a~b".to_owned(), || "c_news".to_owned());
        let body = || Some(Bytes::from_static(b"[1]"));
        let (id, news) = ("a~b".parse().unwrap(), "c_news".parse().unwrap());
        let edit = client::Edit { conversation: conversation(), seq: 3, body: body() };
        assert_eq!(parsed(Wire::Edit(edit)), Ok(Command::Edit("a~b".parse().unwrap(), Seq(3), "[1]".into())));
        let recall = client::Recall { conversation: conversation(), seq: 3 };
        assert_eq!(parsed(Wire::Recall(recall)), Ok(Command::Recall("a~b".parse().unwrap(), Seq(3))));
        let react =
            client::React { conversation: conversation(), seq: 3, emoji: "👍".into(), on: Some(false) };
        let expected = Command::React { conversation: id, seq: Seq(3), emoji: "👍".into(), on: false };
        assert_eq!(parsed(Wire::React(react)), Ok(expected));
        let ask = client::AskPresence { users: vec!["b".into(), "a".into()], watch: Some(true) };
        let users = vec!["b".parse().unwrap(), "a".parse().unwrap()];
        assert_eq!(parsed(Wire::Presence(ask)), Ok(Command::Presence { users, watch: true }));
        let subscribe = client::Subscribe { channel: channel(), after: Some(0) };
        let expected = Command::Subscribe { channel: "c_news".parse().unwrap(), after: Some(Seq(0)) };
        assert_eq!(parsed(Wire::Subscribe(subscribe)), Ok(expected));
        let unsubscribe = client::Unsubscribe { channel: channel() };
        assert_eq!(
            parsed(Wire::Unsubscribe(unsubscribe)),
            Ok(Command::Unsubscribe("c_news".parse().unwrap()))
        );
        let publish = client::Publish { channel: channel(), body: body(), client_msg_id: None };
        let expected = Command::Publish { channel: news, body: "[1]".into(), client_msg_id: None };
        assert_eq!(parsed(Wire::Publish(publish)), Ok(expected));
    }

    #[test]
    fn what_must_be_there_must_be_there_in_protobuf_too() {
        use command::Command as Wire;
        let refused = |command| parsed(command).unwrap_err().message;
        let react = client::React { conversation: "a~b".into(), seq: 1, emoji: "+".into(), on: None };
        assert_eq!(refused(Wire::React(react)), "`on` is missing");
        let edit = client::Edit { conversation: "a~b".into(), seq: 1, body: None };
        assert_eq!(refused(Wire::Edit(edit)), "`body` is missing");
        assert!(refused(Wire::Presence(client::AskPresence::default())).contains("1 to 500"));
    }

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
    fn fields_that_are_not_known_are_skipped() {
        let mut bytes = send(b"1");
        // Field 100, length-delimited, three bytes.
        bytes.extend([0xa2, 0x06, 3, 1, 2, 3]);
        assert!(decode(&bytes).is_ok());
    }

    #[test]
    fn a_body_that_is_no_json_is_refused() {
        for body in [&b"{"[..], b"", b"\xff", b"1 2"] {
            assert!(decode(&send(body)).unwrap_err().message.starts_with("`body` is not valid"), "{body:?}");
        }
        assert!(decode(b"\xff\xff").unwrap_err().message.starts_with("not a protobuf Command"));
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
