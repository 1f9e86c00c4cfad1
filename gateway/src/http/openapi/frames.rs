//! The frames of PROTOCOL.md §4, each as a schema with an example: the frames
//! of all transports, and the events of a poll. `Frame` is any of them,
//! distinguished by `type`. A test compares them with what the server writes.

use proto::{ResetReason, Role};
use serde_json::{Map, Value, json};

use super::schema::{BODY, GROUP, TIME, codes, flag, list, number, reference, text, time};

/// One frame.
struct Described {
    /// Its `type`.
    kind: &'static str,
    /// When the frame comes.
    about: &'static str,
    required: Vec<(&'static str, Value)>,
    optional: Vec<(&'static str, Value)>,
    /// Without `type`.
    example: Value,
}

/// The schemas of all frames, and `Frame`, which is any of them.
pub(super) fn schemas() -> Map<String, Value> {
    let all = all();
    let names: Vec<String> = all.iter().map(|frame| name(frame.kind)).collect();
    let mapping: Map<String, Value> = all
        .iter()
        .zip(&names)
        .map(|(frame, name)| (frame.kind.to_owned(), json!(format!("#/components/schemas/{name}"))))
        .collect();
    let mut schemas: Map<String, Value> = names.iter().cloned().zip(all.into_iter().map(schema)).collect();
    let any: Vec<Value> = names.iter().map(|name| reference(name)).collect();
    schemas.insert(
        "Frame".to_owned(),
        json!({
            "description": "A frame of the client protocol. Others may be added: leave out what is not known",
            "oneOf": any,
            "discriminator": { "propertyName": "type", "mapping": mapping },
        }),
    );
    schemas
}

/// `channel_reset` is `ChannelResetFrame`.
fn name(kind: &str) -> String {
    let words = kind.split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect::<String>() + "Frame"
}

fn schema(frame: Described) -> Value {
    let Described { kind, about, required, optional, example } = frame;
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({ "type": "string", "enum": [kind] }));
    let mut names = vec!["type"];
    names.extend(required.iter().map(|(name, _)| *name));
    let names = json!(names);
    properties.extend(required.into_iter().chain(optional).map(|(name, schema)| (name.to_owned(), schema)));
    let mut whole = json!({ "type": kind });
    if let (Value::Object(whole), Value::Object(rest)) = (&mut whole, example) {
        whole.extend(rest);
    }
    json!({
        "type": "object", "description": about, "required": names, "properties": properties,
        "examples": [whole],
    })
}

fn all() -> Vec<Described> {
    let mut all = events();
    all.extend(ephemeral());
    all.extend(answers());
    all.extend(sessions());
    all
}

/// The frames of inbox events, each with a cursor.
fn events() -> Vec<Described> {
    let of_message = || vec![("cursor", cursor()), ("conversation", text()), ("seq", number())];
    let with = |mut fields: Vec<(&'static str, Value)>, more: Vec<(&'static str, Value)>| {
        fields.extend(more);
        fields
    };
    let body = || json!({ "description": "Any JSON, as it was sent" });
    vec![
        Described {
            kind: "message",
            about: "A message, at its place in the inbox",
            required: with(of_message(), vec![("from", text()), ("time", time()), ("body", body())]),
            optional: vec![("client_msg_id", text())],
            example: json!({
                "cursor": "8.x9", "conversation": "alice~bob", "seq": 1, "from": "alice",
                "time": TIME, "body": BODY, "client_msg_id": "m-1",
            }),
        },
        Described {
            kind: "conversation",
            about: "A group was made or has changed. `members` are all of them after `created` and `members_added`",
            required: vec![
                ("cursor", cursor()),
                ("conversation", text()),
                (
                    "change",
                    words(&[
                        "created",
                        "renamed",
                        "members_added",
                        "member_removed",
                        "owner_changed",
                        "role_changed",
                    ]),
                ),
                ("by", text()),
                ("time", time()),
            ],
            optional: vec![
                ("name", text()),
                ("members", list(text())),
                (
                    "user",
                    json!({ "type": "string", "description": "Who was removed, is the owner now, or has another role" }),
                ),
                (
                    "role",
                    json!({ "type": "string", "enum": Role::NAMES, "description": "The new role of `user`; of those who are new, where they are no members like others" }),
                ),
            ],
            example: json!({
                "cursor": "9.b1", "conversation": GROUP, "change": "created", "by": "alice",
                "time": TIME, "name": "Team", "members": ["alice", "bob"],
            }),
        },
        Described {
            kind: "edited",
            about: "A message has another body",
            required: with(of_message(), vec![("body", body()), ("time", time()), ("by", text())]),
            optional: vec![],
            example: json!({
                "cursor": "10.c3", "conversation": "alice~bob", "seq": 1, "body": BODY,
                "time": TIME, "by": "alice",
            }),
        },
        Described {
            kind: "recalled",
            about: "A message's body was taken away",
            required: with(of_message(), vec![("time", time()), ("by", text())]),
            optional: vec![],
            example: json!({
                "cursor": "11.d7", "conversation": "alice~bob", "seq": 1, "time": TIME,
                "by": "alice",
            }),
        },
        Described {
            kind: "reaction",
            about: "Somebody reacted to a message, or took the reaction back (`on` is false)",
            required: with(
                of_message(),
                vec![("user", text()), ("emoji", text()), ("on", flag()), ("time", time())],
            ),
            optional: vec![],
            example: json!({
                "cursor": "12.e2", "conversation": "alice~bob", "seq": 1, "user": "bob", "emoji": "👍",
                "on": true, "time": TIME,
            }),
        },
        Described {
            kind: "publication",
            about: "Something was published to a channel. With a `cursor` on one-way transports and polls",
            required: vec![
                ("channel", text()),
                ("seq", number()),
                ("from", text()),
                ("time", time()),
                ("body", body()),
            ],
            optional: vec![("cursor", cursor())],
            example: json!({
                "cursor": "8.x9", "channel": "c_news", "seq": 42, "from": "desk",
                "time": TIME, "body": BODY,
            }),
        },
    ]
}

/// Receipts, which may repeat, and frames that may be lost.
fn ephemeral() -> Vec<Described> {
    vec![
        Described {
            kind: "receipt",
            about: "A user has received or read everything up to a message. Only the newest is kept; may repeat",
            required: vec![
                ("conversation", text()),
                ("user", text()),
                ("kind", words(&["delivered", "read"])),
                ("seq", number()),
            ],
            optional: vec![],
            example: json!({ "conversation": "alice~bob", "user": "bob", "kind": "read", "seq": 1 }),
        },
        Described {
            kind: "typing",
            about: "Somebody is typing. May be lost",
            required: vec![("conversation", text()), ("user", text())],
            optional: vec![],
            example: json!({ "conversation": "alice~bob", "user": "bob" }),
        },
        Described {
            kind: "presence",
            about: "Somebody whom this session watches has come or gone. May be lost",
            required: vec![("user", text()), ("online", flag())],
            optional: vec![("last_seen", time())],
            example: json!({ "user": "bob", "online": false, "last_seen": TIME }),
        },
    ]
}

/// The answers to commands on two-way transports; `ref` is the command's.
fn answers() -> Vec<Described> {
    let mut results = vec![
        ("ref", own()),
        ("messages", list(reference("Message"))),
        ("more", flag()),
        ("conversations", list(reference("Conversation"))),
        ("page", text()),
        ("conversation", text()),
        ("owner", text()),
        ("members", list(reference("Member"))),
        ("presence", list(reference("UserPresence"))),
        ("results", list(reference("Result"))),
    ];
    results.extend([("seq", number()), ("publications", list(reference("Publication")))]);
    vec![
        Described {
            kind: "sent",
            about: "A message or a publication was taken. With `cursor` it stands for the sender's own copy",
            required: vec![("seq", number()), ("time", time())],
            optional: vec![
                ("ref", own()),
                ("conversation", json!({ "type": "string", "description": "Of a message" })),
                ("channel", json!({ "type": "string", "description": "Of a publication" })),
                ("duplicate", json!({ "type": "boolean", "description": "Only when it was sent before" })),
                ("cursor", cursor()),
            ],
            example: json!({
                "ref": 1, "cursor": "8.x9", "conversation": "alice~bob", "seq": 1,
                "time": TIME,
            }),
        },
        Described {
            kind: "ok",
            about: "A command was done; its result's fields stand beside `ref`",
            required: vec![],
            optional: results,
            example: json!({ "ref": 2, "conversation": GROUP }),
        },
        Described {
            kind: "error",
            about: "A command was refused; without `ref`, something that was no command",
            required: vec![
                ("code", words(&codes())),
                ("message", json!({ "type": "string", "description": "For a person" })),
            ],
            optional: vec![("ref", own()), ("retry_after_ms", number())],
            example: json!({ "ref": 3, "code": "not_found", "message": "no such conversation" }),
        },
        Described {
            kind: "pong",
            about: "The answer to a ping",
            required: vec![],
            optional: vec![("ref", own())],
            example: json!({ "ref": 4 }),
        },
    ]
}

/// The beginning and the end of a session, and resets.
fn sessions() -> Vec<Described> {
    let reasons: Vec<&str> = [ResetReason::Trimmed, ResetReason::Rewritten, ResetReason::Behind]
        .into_iter()
        .map(ResetReason::as_str)
        .collect();
    vec![
        Described {
            kind: "welcome",
            about: "The first frame of every stream; polls have none",
            required: vec![
                ("user", text()),
                ("device", text()),
                ("session", text()),
                ("node", text()),
                ("cursor", cursor()),
                ("resumed", json!({ "type": "boolean", "description": "A cursor was given and accepted" })),
                ("heartbeat_ms", number()),
                ("max_body_bytes", number()),
            ],
            optional: vec![],
            example: json!({
                "user": "bob", "device": "phone", "session": "01JD3Z7XQ4N8K2M5P6R9T0VWYB", "node": "gw-1",
                "cursor": "7.k2", "resumed": false, "heartbeat_ms": 25_000, "max_body_bytes": 65_536,
            }),
        },
        Described {
            kind: "reset",
            about: "The place that the client had is gone: go on from `cursor`, and read conversations anew",
            required: vec![("reason", words(&reasons)), ("cursor", cursor())],
            optional: vec![],
            example: json!({ "reason": "trimmed", "cursor": "900.a4" }),
        },
        Described {
            kind: "channel_reset",
            about: "A channel's place is gone: the next publication comes after `seq`. With a `cursor` on \
                    one-way transports and polls",
            required: vec![
                ("channel", text()),
                ("seq", number()),
                ("reason", words(&[ResetReason::Trimmed.as_str(), ResetReason::Rewritten.as_str()])),
            ],
            optional: vec![("cursor", cursor())],
            example: json!({ "cursor": "8.x9", "channel": "c_news", "seq": 41, "reason": "trimmed" }),
        },
        Described {
            kind: "goaway",
            about: "The session ends. Without `reconnect_in_ms` a client does not come back by itself",
            required: vec![(
                "reason",
                words(&["shutdown", "replaced", "token_expired", "kicked", "revoked"]),
            )],
            optional: vec![("reconnect_in_ms", number())],
            example: json!({ "reason": "shutdown", "reconnect_in_ms": 1_250 }),
        },
    ]
}

fn cursor() -> Value {
    json!({ "type": "string", "description": "Everything up to and including here has been received" })
}

/// A `ref`.
fn own() -> Value {
    json!({ "type": ["string", "integer"], "description": "As the command gave it" })
}

fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::wire::{self, Change, Edited, Message, Reaction, Recalled, change, entry::What};
    use proto::{ChannelId, Cursor, End, Position, Seq};

    use super::super::answers;
    use super::*;
    use crate::protocol::answer::Answer;
    use crate::protocol::event::Event;
    use crate::protocol::failure::Failure;
    use crate::protocol::frame::{Frame, Welcome};
    use crate::protocol::jump::Jump;
    use crate::protocol::publication::Publication;

    fn entry(what: What) -> wire::Entry {
        wire::Entry { fingerprint: 1, time: 2, by: "a".into(), what: Some(what) }
    }

    /// At least one frame of every kind, with all its members.
    fn frames() -> Vec<Frame> {
        let event = |what| Frame::Event(Position(1), Arc::new(Event::new("a~b".into(), Seq(1), entry(what))));
        let sent = || Box::new(wire::Sent { seq: 1, time: 2, duplicate: true, ..wire::Sent::default() });
        let message = || What::Message(Message { body: "1".into(), client_msg_id: "m".into() });
        let mut change =
            Change { name: "n".into(), members: vec!["a".into()], user: "b".into(), ..Change::default() };
        change.set_kind(change::Kind::Created);
        let publication = wire::Publication { channel: "c_x".into(), seq: 1, entry: Some(entry(message())) };
        let publication: Arc<Publication> = Arc::new(publication.into());
        let own = || Some("1".into());
        let mut receipt =
            wire::Receipt { conversation: "a~b".into(), user: "a".into(), seq: 1, ..Default::default() };
        receipt.set_kind(wire::receipt::Kind::Read);
        let welcome = Welcome {
            user: "a".into(),
            device: "d".into(),
            session: "s".into(),
            node: "n".into(),
            cursor: Cursor::ORIGIN,
            resumed: true,
            heartbeat_ms: 1,
        };
        let gone = wire::Presence { user: "a".into(), online: false, last_seen: 7 };
        let mut frames: Vec<Frame> = vec![
            Frame::Welcome(Arc::new(welcome)),
            event(message()),
            event(What::Change(change)),
            event(What::Edited(Edited { seq: 1, body: "2".into() })),
            event(What::Recalled(Recalled { seq: 1 })),
            event(What::Reaction(Reaction { seq: 1, emoji: "+".into(), on: true })),
            Frame::Publication(publication.clone()),
            Frame::Sent {
                reference: own(),
                conversation: "a~b".into(),
                sent: sent(),
                cursor: Some(Cursor::ORIGIN),
            },
            Frame::Published { reference: own(), channel: ChannelId::parse("c_x").unwrap(), sent: sent() },
            Frame::Error(own(), Box::new(Failure::rate_limited("slow down", 20))),
            Frame::Pong(own()),
            Frame::Typing(Arc::new(wire::Typing { conversation: "a~b".into(), user: "a".into() })),
            Frame::Receipt(Arc::new(receipt.into())),
            Frame::Presence(Arc::new(gone)),
        ];
        let subscribed = Answer::Subscribed { seq: Seq(1), publications: vec![publication] };
        let results = answers::tests::answers().into_iter().map(|(_, answer)| answer).chain([subscribed]);
        let is_ok = |answer: &Answer| !matches!(answer, Answer::Sent(..) | Answer::Published(..));
        frames.extend(results.filter(is_ok).map(|answer| Frame::Ok(own(), Box::new(answer))));
        for reason in [ResetReason::Trimmed, ResetReason::Rewritten, ResetReason::Behind] {
            frames.push(Frame::Reset(reason, Cursor::ORIGIN));
        }
        let channel = ChannelId::parse("c_x").unwrap();
        frames.push(Frame::ChannelReset(Box::new(Jump {
            channel,
            seq: Seq(1),
            reason: ResetReason::Trimmed,
        })));
        for end in [End::Shutdown, End::Replaced, End::TokenExpired, End::Kicked, End::Revoked] {
            frames.push(Frame::Goaway(end, crate::session::reconnect_in_ms(end)));
        }
        frames.push(Frame::Goaway(End::Shutdown, Some(5)));
        frames
    }

    #[test]
    fn every_frame_that_the_server_writes_is_as_it_is_described() {
        let schemas = answers::schemas();
        let mut seen = Vec::new();
        for frame in frames() {
            let mut json = String::new();
            frame.write_json(&mut json);
            let value: Value = serde_json::from_str(&json).unwrap();
            answers::tests::check(&schemas, &schemas[name(frame.kind())], &value);
            seen.push(frame.kind());
        }
        let mut described: Vec<&str> = all().iter().map(|frame| frame.kind).collect();
        seen.sort_unstable();
        seen.dedup();
        described.sort_unstable();
        assert_eq!(seen, described);
    }

    #[test]
    fn the_protocols_table_has_the_same_frames() {
        let protocol = include_str!("../../../../docs/PROTOCOL.md");
        let (_, rest) = protocol.split_once("## 4. ").unwrap();
        let (table, _) = rest.split_once("## 5. ").unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
        let mut written: Vec<&str> = rows
            .filter_map(|row| row.trim_start_matches("● ").strip_prefix('`')?.split('`').next())
            .collect();
        let mut described: Vec<&str> = all().iter().map(|frame| frame.kind).collect();
        written.sort_unstable();
        described.sort_unstable();
        assert_eq!(written, described);
    }
}
