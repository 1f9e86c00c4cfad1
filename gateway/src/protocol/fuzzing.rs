//! What fuzzing holds the words of the protocol to: a command means the same in
//! JSON and in protobuf, and so does an event.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use proto::json::{check_line, too_deep};
use proto::label::{check_emoji, check_name};
use proto::wire::client::{self, command};
use proto::wire::{self, entry::What};
use proto::{ClientMessageId, ConversationId, Position, UserId};
use serde_json::{Value, json};

use super::binary;
use super::command::{Command, MAX_BODY_BYTES, MAX_RECIPIENTS, MAX_USERS, Recipient};
use super::event::Event;
use super::failure::Failure;
use super::fields::Fields;
use super::frame::Frame;
use super::query::Query;

/// Characters that an error's text has at most, whatever it is about.
const LONGEST_ERROR: usize = 512;

/// A JSON frame of a client.
pub fn json_frames(bytes: &[u8]) {
    let read = || {
        let fields = Fields::from_json(bytes)?;
        if let Some(reference) = fields.reference()? {
            assert!(reference.len() <= 256 && is_one_line(&reference), "{reference}");
        }
        fields.id("as", UserId::parse)?;
        let kind = fields.required_text("type")?;
        Command::parse(&kind, &fields)
    };
    match read() {
        Ok(command) => check(&command),
        Err(failure) => check_failure(failure),
    }
}

/// A protobuf frame of a client.
pub fn protobuf_frames(bytes: &[u8]) {
    let read = || {
        let (kind, fields) = binary::decode(bytes)?;
        if let Some(reference) = fields.reference()? {
            assert!(is_one_line(&reference), "{reference}");
        }
        Command::of(kind, &fields)
    };
    match read() {
        Ok(command) => check(&command),
        Err(failure) => check_failure(failure),
    }
}

fn check_failure(failure: Failure) {
    assert!(failure.message.chars().count() <= LONGEST_ERROR, "{}", failure.message);
    let mut text = String::new();
    Frame::Error(None, Box::new(failure)).write_json(&mut text);
    assert!(is_one_line(&text), "{text}");
}

fn is_one_line(text: &str) -> bool {
    !text.contains(['\n', '\r']) && serde_json::from_str::<Value>(text).is_ok()
}

/// What was accepted keeps the limits, and is the same command when it is written
/// anew in either form.
fn check(command: &Command) {
    match command {
        Command::Send { body, .. } | Command::Publish { body, .. } | Command::Edit(.., body) => {
            check_body(body);
        }
        Command::SendToMany { to, body, .. } => {
            check_body(body);
            assert!(to.len() <= MAX_RECIPIENTS);
        }
        Command::Presence { users, .. } => assert!(users.len() <= MAX_USERS),
        _ => {}
    }
    let (json, protobuf) = (json_of(command), protobuf_of(command));
    // In a frame a body lies one level deeper.
    if !too_deep(&json) {
        let fields = Fields::from_text(&json).expect("JSON that was put together");
        let kind = fields.required_text("type").expect("it is there");
        assert_eq!(Command::parse(&kind, &fields).as_ref(), Ok(command), "{json}");
    }
    let bytes = client::Command { command: Some(protobuf), ..Default::default() }.encode_to_vec();
    let (kind, fields) = binary::decode(&bytes).expect("protobuf that was put together");
    assert_eq!(Command::of(kind, &fields).as_ref(), Ok(command), "{json}");
}

fn check_body(body: &Bytes) {
    assert!(body.len() <= MAX_BODY_BYTES);
    assert_eq!(check_line(body), Ok(()), "{body:?}");
}

/// A frame's members; a body stands at the end as it is.
fn json_of(command: &Command) -> String {
    let kind = command.kind().as_str();
    let texts = |ids: &[UserId]| ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    let key = |id: &Option<ClientMessageId>| id.as_ref().map(|id| id.as_str().to_owned());
    let (members, body) = match command {
        Command::Send { to: Recipient::User(user), body, client_msg_id } => {
            (json!({"to": user.as_str(), "client_msg_id": key(client_msg_id)}), Some(body))
        }
        Command::Send { to: Recipient::Conversation(id), body, client_msg_id } => {
            (json!({"conversation": id.as_str(), "client_msg_id": key(client_msg_id)}), Some(body))
        }
        Command::SendToMany { to, body, client_msg_id } => {
            (json!({"to": texts(to), "client_msg_id": key(client_msg_id)}), Some(body))
        }
        Command::Ack(cursor) => (json!({"cursor": cursor.to_string()}), None),
        Command::Read(id, seq) | Command::Recall(id, seq) => {
            (json!({"conversation": id.as_str(), "seq": seq.0}), None)
        }
        Command::Typing(id) | Command::Members(id) => (json!({"conversation": id.as_str()}), None),
        Command::History { conversation, before, after, limit } => (
            json!({"conversation": conversation.as_str(), "before": before.map(|seq| seq.0),
                "after": after.map(|seq| seq.0), "limit": limit}),
            None,
        ),
        Command::Conversations { limit, page } => (json!({"limit": limit, "page": page}), None),
        Command::CreateGroup { name, members, role } => {
            (json!({"name": name, "members": texts(members), "role": role.as_str()}), None)
        }
        Command::AddMembers(id, members, role) => {
            (json!({"conversation": id.as_str(), "members": texts(members), "role": role.as_str()}), None)
        }
        Command::SetRole(id, user, role) => {
            (json!({"conversation": id.as_str(), "user": user.as_str(), "role": role.as_str()}), None)
        }
        Command::RemoveMember(id, user) => {
            (json!({"conversation": id.as_str(), "user": user.as_str()}), None)
        }
        Command::Rename(id, name) => (json!({"conversation": id.as_str(), "name": name}), None),
        Command::Edit(id, seq, body) => (json!({"conversation": id.as_str(), "seq": seq.0}), Some(body)),
        Command::React { conversation, seq, emoji, on } => {
            (json!({"conversation": conversation.as_str(), "seq": seq.0, "emoji": emoji, "on": on}), None)
        }
        Command::Presence { users, watch } => (json!({"users": texts(users), "watch": watch}), None),
        Command::Subscribe { channel, after } => {
            (json!({"channel": channel.as_str(), "after": after.map(|seq| seq.0)}), None)
        }
        Command::Unsubscribe(channel) => (json!({"channel": channel.as_str()}), None),
        Command::Publish { channel, body, client_msg_id } => {
            (json!({"channel": channel.as_str(), "client_msg_id": key(client_msg_id)}), Some(body))
        }
        Command::Auth(token) => (json!({"token": token}), None),
        Command::Ping => (json!({}), None),
        Command::Kick { .. } | Command::Revoke { .. } => panic!("frames have no such command"),
    };
    let members = members.to_string();
    let members = members.strip_prefix('{').expect("an object");
    let separator = if members == "}" { "" } else { "," };
    let body = body.map(|body| format!(r#","body":{}"#, std::str::from_utf8(body).expect("it is JSON")));
    format!(r#"{{"type":"{kind}"{}{separator}{members}"#, body.unwrap_or_default())
}

fn protobuf_of(command: &Command) -> command::Command {
    use command::Command as Wire;
    let texts = |ids: &[UserId]| ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    let key = |id: &Option<ClientMessageId>| id.as_ref().map(|id| id.as_str().to_owned());
    let text = |id: &ConversationId| id.as_str().to_owned();
    match command.clone() {
        Command::Send { to, body, client_msg_id } => {
            let (to, conversation) = match &to {
                Recipient::User(user) => (Some(user.as_str().to_owned()), None),
                Recipient::Conversation(id) => (None, Some(text(id))),
            };
            let client_msg_id = key(&client_msg_id);
            Wire::Send(client::Send { to, conversation, body: Some(body), client_msg_id, to_many: vec![] })
        }
        Command::SendToMany { to, body, client_msg_id } => Wire::Send(client::Send {
            to_many: texts(&to),
            body: Some(body),
            client_msg_id: key(&client_msg_id),
            ..Default::default()
        }),
        Command::Ack(cursor) => Wire::Ack(client::Ack { cursor: cursor.to_string() }),
        Command::Read(id, seq) => Wire::Read(client::Read { conversation: text(&id), seq: seq.0 }),
        Command::Typing(id) => Wire::Typing(client::Typing { conversation: text(&id), ..Default::default() }),
        Command::History { conversation, before, after, limit } => Wire::History(client::History {
            conversation: text(&conversation),
            before: before.map(|seq| seq.0),
            after: after.map(|seq| seq.0),
            limit: Some(limit),
        }),
        Command::Conversations { limit, page } => {
            Wire::Conversations(client::Conversations { limit: Some(limit), page })
        }
        Command::CreateGroup { name, members, role } => Wire::CreateGroup(client::CreateGroup {
            name,
            members: texts(&members),
            role: Some(role.to_string()),
        }),
        Command::Members(id) => Wire::Members(client::Members { conversation: text(&id) }),
        Command::AddMembers(id, members, role) => Wire::AddMembers(client::AddMembers {
            conversation: text(&id),
            members: texts(&members),
            role: Some(role.to_string()),
        }),
        Command::SetRole(id, user, role) => Wire::SetRole(client::SetRole {
            conversation: text(&id),
            user: user.as_str().to_owned(),
            role: role.to_string(),
        }),
        Command::RemoveMember(id, user) => Wire::RemoveMember(client::RemoveMember {
            conversation: text(&id),
            user: user.as_str().to_owned(),
        }),
        Command::Rename(id, name) => Wire::Rename(client::Rename { conversation: text(&id), name }),
        Command::Edit(id, seq, body) => {
            Wire::Edit(client::Edit { conversation: text(&id), seq: seq.0, body: Some(body) })
        }
        Command::Recall(id, seq) => Wire::Recall(client::Recall { conversation: text(&id), seq: seq.0 }),
        Command::React { conversation, seq, emoji, on } => {
            Wire::React(client::React { conversation: text(&conversation), seq: seq.0, emoji, on: Some(on) })
        }
        Command::Presence { users, watch } => {
            Wire::Presence(client::AskPresence { users: texts(&users), watch: Some(watch) })
        }
        Command::Subscribe { channel, after } => Wire::Subscribe(client::Subscribe {
            channel: channel.as_str().to_owned(),
            after: after.map(|seq| seq.0),
        }),
        Command::Unsubscribe(channel) => {
            Wire::Unsubscribe(client::Unsubscribe { channel: channel.as_str().to_owned() })
        }
        Command::Publish { channel, body, client_msg_id } => Wire::Publish(client::Publish {
            channel: channel.as_str().to_owned(),
            body: Some(body),
            client_msg_id: key(&client_msg_id),
        }),
        Command::Auth(token) => Wire::Auth(client::Auth { token }),
        Command::Ping => Wire::Ping(client::Ping {}),
        Command::Kick { .. } | Command::Revoke { .. } => panic!("frames have no such command"),
    }
}

/// An event as routers and the bus give it, where it keeps the rules of what may be
/// stored: its frames in both forms say the same.
pub fn events(bytes: &[u8]) {
    let Ok(event) = wire::Event::decode(bytes) else { return };
    let Some(entry) = event.entry.clone().filter(may_be_stored) else { return };
    if ConversationId::parse(&event.conversation).is_err() {
        return;
    }
    let shown = Event::from(event.clone());
    let frame = Frame::Event(Position(7), Arc::new(shown));
    let mut text = String::new();
    frame.write_json(&mut text);
    assert!(is_one_line(&text), "{text}");
    let json: Value = serde_json::from_str(&text).expect("it was read just now");
    let encoded = client::Frame::decode(binary::encode(&frame)).expect("a frame is a frame");
    let cursor = frame.cursor().map(|cursor| cursor.to_string());
    assert_eq!((json["cursor"].as_str(), encoded.cursor.as_deref()), (cursor.as_deref(), cursor.as_deref()));
    assert_eq!((&json["type"], &json["conversation"]), (&json!(frame.kind()), &json!(event.conversation)));
    use client::frame::Frame as Wire;
    let same = match encoded.frame.expect("it has one") {
        Wire::Message(message) => {
            let key = message.client_msg_id.as_deref();
            assert_eq!((json["client_msg_id"].as_str(), &json["from"]), (key, &json!(message.from)));
            json["seq"] == message.seq && is_body(&text, &message.body)
        }
        Wire::Conversation(change) => {
            assert_eq!(
                (json["name"].as_str(), json["user"].as_str()),
                (change.name.as_deref(), change.user.as_deref())
            );
            let members = json["members"].as_array().map_or(0, Vec::len);
            json["change"] == change.change && json["by"] == change.by && members == change.members.len()
        }
        Wire::Edited(edited) => json["seq"] == edited.seq && is_body(&text, &edited.body),
        Wire::Recalled(recalled) => json["seq"] == recalled.seq && json["by"] == recalled.by,
        Wire::Reaction(reaction) => {
            json["seq"] == reaction.seq && json["emoji"] == reaction.emoji && json["on"] == reaction.on
        }
        other => panic!("no frame of an event: {other:?}"),
    };
    assert!(same && json["time"] == entry.time, "{text}");
}

/// A body is passed on byte for byte.
fn is_body(frame: &str, body: &Bytes) -> bool {
    frame.contains(&format!(r#""body":{}"#, String::from_utf8_lossy(body)))
}

fn may_be_stored(entry: &wire::Entry) -> bool {
    let user = |text: &String| UserId::parse(text).is_ok();
    user(&entry.by)
        && match &entry.what {
            None => false,
            Some(What::Message(message)) => {
                let key = &message.client_msg_id;
                check_line(&message.body).is_ok() && (key.is_empty() || ClientMessageId::parse(key).is_ok())
            }
            Some(What::Change(change)) => {
                (change.name.is_empty() || check_name(&change.name).is_ok())
                    && change.members.iter().all(user)
                    && (change.user.is_empty() || user(&change.user))
            }
            Some(What::Edited(edited)) => check_line(&edited.body).is_ok(),
            Some(What::Recalled(_)) => true,
            Some(What::Reaction(reaction)) => check_emoji(&reaction.emoji).is_ok(),
        }
}

/// A query is read as the `url` crate reads a form, each name once.
pub fn queries(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let pairs: Vec<_> = url::form_urlencoded::parse(bytes).collect();
    match Query::parse(text) {
        Err(failure) => check_failure(failure),
        Ok(query) => {
            for (index, (name, value)) in pairs.iter().enumerate() {
                assert_eq!(query.get(name), Some(&**value));
                assert!(pairs[..index].iter().all(|(other, _)| other != name), "{name} twice");
            }
            assert!(
                query.number("limit", 500).is_err() || query.get("limit").is_none_or(|text| !text.is_empty())
            );
            assert!(query.device().is_err() || query.get("device").is_none_or(|text| text.len() <= 64));
        }
    }
}
