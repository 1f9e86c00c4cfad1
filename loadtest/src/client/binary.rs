//! Commands and frames as protobuf (`client.proto`), translated from and to
//! the JSON that the rest of the client speaks.

use bytes::Bytes;
use prost::Message as _;
use proto::wire::client::{self, command, frame, ok};
use serde_json::{Map, Value, json};

use super::Frame;
use super::error::{Error, Result};

/// The media type over HTTP.
pub(super) const CONTENT_TYPE: &str = "application/x-protobuf";

/// How frames and commands are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// As JSON text.
    Json,
    /// As the messages of `client.proto`.
    Protobuf,
}

/// A command frame as protobuf.
pub(super) fn encode(command: &Value) -> Result<Vec<u8>> {
    let text = |name: &str| command[name].as_str().map(str::to_owned);
    let required = |name: &str| text(name).unwrap_or_default();
    let texts = |name: &str| {
        let list = command[name].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let number = |name: &str| command[name].as_u64();
    let kind = required("type");
    let inner = match kind.as_str() {
        "send" => command::Command::Send(client::Send {
            to: text("to"),
            conversation: text("conversation"),
            body: command.get("body").map(|body| Bytes::from(body.to_string())),
            client_msg_id: text("client_msg_id"),
            to_many: texts("to"),
        }),
        "ack" => command::Command::Ack(client::Ack { cursor: required("cursor") }),
        "read" => command::Command::Read(client::Read {
            conversation: required("conversation"),
            seq: number("seq").unwrap_or_default(),
        }),
        "history" => command::Command::History(client::History {
            conversation: required("conversation"),
            before: number("before"),
            after: number("after"),
            limit: number("limit").and_then(|limit| u32::try_from(limit).ok()),
        }),
        "subscribe" => command::Command::Subscribe(client::Subscribe {
            channel: required("channel"),
            after: number("after"),
        }),
        "unsubscribe" => command::Command::Unsubscribe(client::Unsubscribe { channel: required("channel") }),
        "publish" => command::Command::Publish(client::Publish {
            channel: required("channel"),
            body: command.get("body").map(|body| Bytes::from(body.to_string())),
            client_msg_id: text("client_msg_id"),
        }),
        "edit" => command::Command::Edit(client::Edit {
            conversation: required("conversation"),
            seq: number("seq").unwrap_or_default(),
            body: command.get("body").map(|body| Bytes::from(body.to_string())),
        }),
        "recall" => command::Command::Recall(client::Recall {
            conversation: required("conversation"),
            seq: number("seq").unwrap_or_default(),
        }),
        "react" => command::Command::React(client::React {
            conversation: required("conversation"),
            seq: number("seq").unwrap_or_default(),
            emoji: required("emoji"),
            on: command["on"].as_bool(),
        }),
        "typing" => command::Command::Typing(client::Typing {
            conversation: required("conversation"),
            ..client::Typing::default()
        }),
        "presence" => command::Command::Presence(client::AskPresence {
            users: texts("users"),
            watch: command["watch"].as_bool(),
        }),
        "auth" => command::Command::Auth(client::Auth { token: required("token") }),
        "ping" => command::Command::Ping(client::Ping {}),
        other => return Err(Error::broken(format!("`{other}` has no protobuf form here"))),
    };
    let reference = match &command["ref"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let command = client::Command { r#ref: reference, r#as: text("as"), command: Some(inner) };
    Ok(command.encode_to_vec())
}

/// A frame that came as protobuf.
pub(super) fn decode(bytes: &[u8]) -> Result<Frame> {
    let frame = client::Frame::decode(bytes).map_err(Error::broken)?;
    translate(frame)
}

/// The answer to a poll, as its JSON.
pub(super) fn decode_poll(bytes: &[u8]) -> Result<Value> {
    let poll = client::Poll::decode(bytes).map_err(Error::broken)?;
    let events: Result<Vec<Value>> = poll.events.into_iter().map(|frame| Ok(translate(frame)?.0)).collect();
    Ok(json!({"events": events?, "cursor": poll.cursor}))
}

fn translate(frame: client::Frame) -> Result<Frame> {
    use frame::Frame as Wire;
    let inner = frame.frame.ok_or_else(|| Error::broken("a frame without a known kind"))?;
    let (kind, mut value) = match inner {
        Wire::Welcome(welcome) => (
            "welcome",
            json!({
                "user": welcome.user, "device": welcome.device, "session": welcome.session,
                "node": welcome.node, "resumed": welcome.resumed,
                "heartbeat_ms": welcome.heartbeat_ms, "max_body_bytes": welcome.max_body_bytes,
            }),
        ),
        Wire::Message(message) => ("message", translate_message(message)?),
        Wire::Conversation(change) => (
            "conversation",
            present(json!({
                "conversation": change.conversation, "change": change.change, "by": change.by,
                "time": change.time, "name": change.name, "user": change.user,
                "members": (!change.members.is_empty()).then_some(change.members),
            })),
        ),
        Wire::Edited(edited) => {
            let body: Value = serde_json::from_slice(&edited.body).map_err(Error::broken)?;
            let fields = json!({
                "conversation": edited.conversation, "seq": edited.seq, "body": body,
                "time": edited.time, "by": edited.by,
            });
            ("edited", fields)
        }
        Wire::Recalled(recalled) => (
            "recalled",
            json!({
                "conversation": recalled.conversation, "seq": recalled.seq,
                "time": recalled.time, "by": recalled.by,
            }),
        ),
        Wire::Reaction(reaction) => (
            "reaction",
            json!({
                "conversation": reaction.conversation, "seq": reaction.seq, "user": reaction.user,
                "emoji": reaction.emoji, "on": reaction.on, "time": reaction.time,
            }),
        ),
        Wire::Presence(presence) => ("presence", translate_presence(presence)),
        Wire::Publication(publication) => ("publication", translate_publication(publication)?),
        Wire::ChannelReset(reset) => {
            ("channel_reset", json!({"channel": reset.channel, "seq": reset.seq, "reason": reset.reason}))
        }
        Wire::Sent(sent) => ("sent", translate_sent(sent)),
        Wire::Ok(answer) => ("ok", translate_answer(answer)?),
        Wire::Error(error) => ("error", translate_error(error)),
        Wire::Pong(_) => ("pong", json!({})),
        Wire::Typing(typing) => ("typing", json!({"conversation": typing.conversation, "user": typing.user})),
        Wire::Receipt(receipt) => (
            "receipt",
            json!({
                "conversation": receipt.conversation, "user": receipt.user,
                "kind": receipt.kind, "seq": receipt.seq,
            }),
        ),
        Wire::Reset(reset) => ("reset", json!({"reason": reset.reason})),
        Wire::Goaway(goaway) => {
            let mut fields = json!({"reason": goaway.reason});
            if let Some(milliseconds) = goaway.reconnect_in_ms {
                fields["reconnect_in_ms"] = json!(milliseconds);
            }
            ("goaway", fields)
        }
        #[allow(unreachable_patterns, reason = "kinds that are new to this client")]
        _ => return Err(Error::broken("a frame of a kind that is not known here")),
    };
    value["type"] = json!(kind);
    if let Some(cursor) = frame.cursor {
        value["cursor"] = json!(cursor);
    }
    if let Some(reference) = frame.r#ref {
        value["ref"] = reference.parse::<u64>().map_or_else(|_| json!(reference), |number| json!(number));
    }
    Frame::checked(value)
}

fn translate_message(message: client::Message) -> Result<Value> {
    let mut value = present(json!({
        "conversation": message.conversation, "seq": message.seq,
        "from": message.from, "time": message.time, "client_msg_id": message.client_msg_id,
        "edited": message.edited, "recalled": message.recalled,
    }));
    if !message.body.is_empty() {
        value["body"] = serde_json::from_slice(&message.body).map_err(Error::broken)?;
    }
    if !message.reactions.is_empty() {
        let reactions = message.reactions.into_iter().map(|one| (one.emoji, json!(one.users)));
        value["reactions"] = Value::Object(reactions.collect());
    }
    Ok(value)
}

fn translate_presence(presence: client::Presence) -> Value {
    present(json!({"user": presence.user, "online": presence.online, "last_seen": presence.last_seen}))
}

fn translate_publication(publication: client::Publication) -> Result<Value> {
    let body: Value = serde_json::from_slice(&publication.body).map_err(Error::broken)?;
    Ok(json!({
        "channel": publication.channel, "seq": publication.seq, "from": publication.from,
        "time": publication.time, "body": body,
    }))
}

fn translate_sent(sent: client::Sent) -> Value {
    present(json!({
        "conversation": (!sent.conversation.is_empty()).then_some(sent.conversation),
        "channel": sent.channel, "seq": sent.seq, "time": sent.time,
        "duplicate": sent.duplicate.then_some(true),
    }))
}

fn translate_error(error: client::Error) -> Value {
    present(json!({
        "code": error.code, "message": error.message, "retry_after_ms": error.retry_after_ms,
    }))
}

/// One of the results of a message to many.
fn translate_result(result: client::Result) -> Value {
    let (kind, mut fields) = match result.result {
        Some(client::result::Result::Sent(sent)) => ("sent", translate_sent(sent)),
        Some(client::result::Result::Error(error)) => ("error", translate_error(error)),
        None => return Value::Null,
    };
    fields["type"] = json!(kind);
    fields
}

fn translate_answer(answer: client::Ok) -> Result<Value> {
    Ok(match answer.result {
        Some(ok::Result::Done(_)) => json!({}),
        Some(ok::Result::Conversation(conversation)) => json!({"conversation": conversation}),
        Some(ok::Result::History(page)) => {
            let messages: Result<Vec<Value>> = page.messages.into_iter().map(translate_message).collect();
            json!({"messages": messages?, "more": page.more})
        }
        Some(ok::Result::Results(many)) => {
            let results: Vec<Value> = many.results.into_iter().map(translate_result).collect();
            json!({"results": results})
        }
        Some(ok::Result::Presence(list)) => {
            json!({"presence": list.presence.into_iter().map(translate_presence).collect::<Vec<_>>()})
        }
        Some(ok::Result::Subscribed(subscribed)) => {
            let publications: Result<Vec<Value>> =
                subscribed.publications.into_iter().map(translate_publication).collect();
            json!({"seq": subscribed.seq, "publications": publications?})
        }
        other => return Err(Error::broken(format!("an answer that is not read here: {other:?}"))),
    })
}

/// Without the fields that are absent.
fn present(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: Map<String, Value> =
                fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
            Value::Object(fields)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_becomes_its_json() {
        let message = client::Message {
            conversation: "a~b".into(),
            seq: 2,
            from: "a".into(),
            time: 3,
            body: Bytes::from_static(br#"{"x":[1]}"#),
            ..Default::default()
        };
        let frame = client::Frame {
            cursor: Some("4.z".into()),
            r#ref: None,
            frame: Some(frame::Frame::Message(message)),
        };
        let expected = json!({
            "type": "message", "cursor": "4.z", "conversation": "a~b", "seq": 2,
            "from": "a", "time": 3, "body": {"x": [1]},
        });
        assert_eq!(decode(&frame.encode_to_vec()).unwrap().0, expected);
        assert!(decode(b"").is_err());
    }

    #[test]
    fn a_command_becomes_its_message() {
        let bytes = encode(&json!({"type": "send", "ref": 7, "to": "b", "body": [1]})).unwrap();
        let command = client::Command::decode(bytes.as_slice()).unwrap();
        assert_eq!(command.r#ref.as_deref(), Some("7"));
        assert!(
            matches!(command.command, Some(command::Command::Send(send)) if send.body.as_deref() == Some(b"[1]"))
        );
        assert!(encode(&json!({"type": "dance"})).is_err());
    }
}
