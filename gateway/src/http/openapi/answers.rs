//! The answers and refusals as JSON schemas. A test compares them with what the
//! server writes.

use proto::{ErrorCode, Role};
use serde_json::{Map, Value, json};

use super::schema::{BODY, GROUP, TIME, codes, flag, list, number, object, reference, text, time};
use super::{forms, frames};

/// `components/schemas`.
pub(super) fn schemas() -> Value {
    let users = list(text());
    let duplicate =
        || ("duplicate", json!({ "type": "boolean", "description": "Only when it was sent before" }));
    let mut schemas = json!({
        "Done": { "type": "object", "description": "Nothing more to say" },
        "Error": error(),
        "Sent": object(&[("conversation", text()), ("seq", number()), ("time", time())], &[duplicate()]),
        "Result": object(
            &[("type", json!({ "type": "string", "enum": ["sent", "error"] }))],
            &[
                ("conversation", json!({ "type": "string", "description": "Of what was sent, as the next three" })),
                ("seq", number()),
                ("time", time()),
                duplicate(),
                ("code", json!({ "type": "string", "enum": codes(), "description": "Of an error, as the next two" })),
                ("message", json!({ "type": "string", "description": "For a person" })),
                ("retry_after_ms", json!({ "type": "integer", "minimum": 1 })),
            ],
        ),
        "Results": object(&[("results", list(reference("Result")))], &[]),
        "SentOrResults": {
            "oneOf": [reference("Sent"), reference("Results")],
            "description": "`Results`, in the order of `to`, where `to` is a list",
        },
        "Published": object(&[("channel", text()), ("seq", number()), ("time", time())], &[duplicate()]),
        "Publication": object(
            &[
                ("channel", text()),
                ("seq", number()),
                ("from", text()),
                ("time", time()),
                ("body", json!({ "description": "Any JSON" })),
            ],
            &[],
        ),
        "Created": object(&[("conversation", text())], &[]),
        "Message": object(
            &[("conversation", text()), ("seq", number()), ("from", text()), ("time", time())],
            &[
                ("body", json!({ "description": "Any JSON; absent when the message was recalled" })),
                ("client_msg_id", text()),
                ("edited", time()),
                ("recalled", time()),
                ("reactions", json!({
                    "type": "object", "additionalProperties": users,
                    "description": "From each emoji to the users that reacted with it",
                })),
            ],
        ),
        "History": object(&[("messages", list(reference("Message"))), ("more", flag())], &[]),
        "Conversation": object(
            &[
                ("conversation", text()),
                ("kind", json!({ "type": "string", "enum": ["direct", "group"] })),
                ("head_seq", number()),
                ("read_seq", number()),
                ("unread", number()),
            ],
            &[
                ("name", json!({ "type": "string", "description": "Of a group" })),
                ("last_message", reference("Message")),
                ("peer_delivered_seq", number()),
                ("peer_read_seq", number()),
            ],
        ),
        "Conversations": object(&[("conversations", list(reference("Conversation")))], &[("page", text())]),
        "Member": object(
            &[("user", text()), ("since", number()), ("delivered_seq", number()), ("read_seq", number())],
            &[("role", json!({ "type": "string", "enum": Role::NAMES, "description": "In groups" }))],
        ),
        "Members": object(&[("members", list(reference("Member")))], &[("owner", text())]),
        "UserPresence": object(&[("user", text()), ("online", flag())], &[("last_seen", time())]),
        "Presence": object(&[("presence", list(reference("UserPresence")))], &[]),
        "Ticket": object(
            &[
                ("ticket", text()),
                ("expires_in", json!({ "type": "integer", "description": "Seconds" })),
            ],
            &[],
        ),
        "Poll": object(&[("events", list(reference("Frame"))), ("cursor", text())], &[]),
    });
    if let Value::Object(schemas) = &mut schemas {
        for (name, schema) in schemas.iter_mut() {
            schema["examples"] = json!([example(name)]);
        }
        schemas.extend(frames::schemas());
        schemas.extend(forms::schemas());
    }
    schemas
}

/// An example of a schema of answers.
pub(super) fn example(schema: &str) -> Value {
    let message = || {
        json!({
            "conversation": "alice~bob", "seq": 1, "from": "alice", "time": TIME, "body": BODY,
            "client_msg_id": "m-1", "reactions": { "👍": ["bob"] },
        })
    };
    let conversation = || {
        json!({
            "conversation": "alice~bob", "kind": "direct", "head_seq": 1, "read_seq": 1, "unread": 0,
            "last_message": message(), "peer_delivered_seq": 1, "peer_read_seq": 0,
        })
    };
    let member = || json!({ "user": "bob", "since": 0, "delivered_seq": 1, "read_seq": 0 });
    let presence = || json!({ "user": "bob", "online": false, "last_seen": TIME });
    let publication =
        || json!({ "channel": "c_news", "seq": 42, "from": "desk", "time": TIME, "body": BODY });
    match schema {
        "Error" => {
            json!({ "code": "bad_request", "message": "`limit` must be a whole number from 1 to 200" })
        }
        "Result" => json!({ "type": "sent", "conversation": "alice~bob", "seq": 1, "time": TIME }),
        "Results" => json!({ "results": [example("Result")] }),
        "Sent" | "SentOrResults" => json!({ "conversation": "alice~bob", "seq": 1, "time": TIME }),
        "Published" => json!({ "channel": "c_news", "seq": 42, "time": TIME }),
        "Publication" => publication(),
        "Created" => json!({ "conversation": GROUP }),
        "Message" => message(),
        "History" => json!({ "messages": [message()], "more": false }),
        "Conversation" => conversation(),
        "Conversations" => json!({ "conversations": [conversation()], "page": "50" }),
        "Member" => member(),
        "Members" => json!({ "owner": "alice", "members": [member()] }),
        "UserPresence" => presence(),
        "Presence" => json!({ "presence": [presence()] }),
        "Ticket" => json!({ "ticket": "t_Xk2pQ", "expires_in": 30 }),
        "Poll" => json!({
            "cursor": "8.x9",
            "events": [{
                "type": "message", "cursor": "8.x9", "conversation": "alice~bob", "seq": 1,
                "from": "alice", "time": TIME, "body": BODY,
            }],
        }),
        _ => json!({}),
    }
}

/// `components/responses`: the refusals by their status.
pub(super) fn refusals() -> Value {
    let known: [(u16, &str); 12] = [
        (400, "Not of the right form, or beyond a limit"),
        (401, "No credential, or none that holds"),
        (403, "Not allowed"),
        (404, "Not there, or not for this user to know of"),
        (405, "This path has no such method"),
        (408, "The body did not arrive in time"),
        (409, "Against the present state"),
        (413, "Larger than a limit"),
        (415, "The body is neither JSON nor text"),
        (429, "Too fast: try again after `retry_after_ms`"),
        (500, "A fault of the server"),
        (503, "The store or every router is out of reach: nothing was done, try again"),
    ];
    let mut responses = Map::new();
    for (status, description) in known {
        let mut example = json!({ "code": code(status), "message": description.to_lowercase() });
        if matches!(status, 429 | 503) {
            example["retry_after_ms"] = json!(1_000);
        }
        let content = json!({ "application/json": { "schema": reference("Error"), "example": example } });
        let mut response = json!({ "description": description, "content": content });
        if matches!(status, 429 | 503) {
            let seconds = json!({ "type": "integer", "minimum": 1 });
            response["headers"] = json!({ "Retry-After": { "description": "Seconds", "schema": seconds } });
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

/// The error code of a status.
fn code(status: u16) -> &'static str {
    let code = match status {
        401 => ErrorCode::Unauthorized,
        403 => ErrorCode::Forbidden,
        404 => ErrorCode::NotFound,
        409 => ErrorCode::Conflict,
        413 => ErrorCode::TooLarge,
        429 => ErrorCode::RateLimited,
        500 => ErrorCode::Internal,
        503 => ErrorCode::Unavailable,
        _ => ErrorCode::BadRequest,
    };
    code.as_str()
}

fn error() -> Value {
    object(
        &[
            ("code", json!({ "type": "string", "enum": codes() })),
            ("message", json!({ "type": "string", "description": "For a person" })),
        ],
        &[("retry_after_ms", json!({ "type": "integer", "minimum": 1 }))],
    )
}

#[cfg(test)]
pub(super) mod tests {
    use proto::wire;

    use super::*;
    use crate::protocol::answer::Answer;
    use crate::protocol::failure::Failure;

    /// Checks that every member that the server writes is in the schema, and
    /// that every required member is written; also within lists and references.
    pub(in super::super) fn check(schemas: &Value, schema: &Value, value: &Value) {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            return check(schemas, &schemas[name.rsplit('/').next().unwrap()], value);
        }
        if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
            return values.iter().for_each(|value| check(schemas, items, value));
        }
        let (Some(properties), Value::Object(members)) = (schema.get("properties"), value) else { return };
        for name in schema["required"].as_array().unwrap() {
            assert!(members.contains_key(name.as_str().unwrap()), "{name} is missing in {value}");
        }
        for (name, member) in members {
            let schema = properties.get(name).unwrap_or_else(|| panic!("{name} is not in {schema}"));
            check(schemas, schema, member);
        }
    }

    fn message() -> wire::Event {
        let what = wire::entry::What::Message(wire::Message { body: "1".into(), client_msg_id: "m".into() });
        wire::Event {
            conversation: "a~b".into(),
            seq: 1,
            entry: Some(wire::Entry { fingerprint: 1, time: 2, by: "a".into(), what: Some(what) }),
            state: Some(wire::State {
                edited: 3,
                recalled: 0,
                reactions: vec![wire::Reactions { emoji: "+".into(), users: vec!["b".into()] }],
            }),
        }
    }

    /// At least one answer for every schema, with all its members.
    pub(in super::super) fn answers() -> Vec<(&'static str, Answer)> {
        let sent = || wire::Sent { seq: 1, time: 2, duplicate: true, ..wire::Sent::default() };
        let summary = |conversation: &str| wire::Summary {
            conversation: conversation.into(),
            name: "team".into(),
            last_message: Some(message()),
            ..wire::Summary::default()
        };
        let conversations = wire::ConversationsPage {
            conversations: vec![summary("a~b"), summary("g_01")],
            page: "7".into(),
        };
        let members = wire::MemberList { owner: "a".into(), members: vec![wire::Member::default()] };
        let gone = wire::Presence { user: "a".into(), online: false, last_seen: 7 };
        vec![
            ("Done", Answer::Done),
            ("Sent", Answer::Sent("a~b".parse().unwrap(), sent())),
            (
                "Results",
                Answer::Results(vec![
                    Ok(("a~b".parse().unwrap(), sent())),
                    Err(Failure::rate_limited("slow down", 20)),
                ]),
            ),
            ("Published", Answer::Published("c_news".parse().unwrap(), sent())),
            ("Created", Answer::Created("g_01".into())),
            ("History", Answer::History(wire::HistoryPage { messages: vec![message()], more: true })),
            ("Conversations", Answer::Conversations(conversations)),
            ("Members", Answer::Members(members)),
            ("Presence", Answer::Presence(vec![gone, wire::Presence::default()])),
        ]
    }

    #[test]
    fn answers_are_as_they_are_described() {
        let schemas = schemas();
        for (schema, answer) in answers() {
            let value = serde_json::from_str(&answer.to_json()).unwrap();
            check(&schemas, &schemas[schema], &value);
        }
    }

    #[test]
    fn a_refusal_is_as_it_is_described() {
        let mut body = String::from("{");
        Failure::rate_limited("slow down", 20).write_members(&mut body);
        body.push('}');
        let schemas = schemas();
        check(&schemas, &schemas["Error"], &serde_json::from_str(&body).unwrap());
    }
}
