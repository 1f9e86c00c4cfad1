//! Commands as HTTP resources: the last column of PROTOCOL.md §5.

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::error::{Error, Result};

/// What may stand in a path or query as it is (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request that says the same as a frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The resource of a command frame.
pub(crate) fn of(command: &Value) -> Result<Resource> {
    let mut fields = command.as_object().cloned().unwrap_or_default();
    fields.remove("ref");
    let kind = fields.remove("type").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
    let conversation =
        |fields: &mut Map<String, Value>| format!("/v1/conversations/{}", take(fields, "conversation"));
    let message = |fields: &mut Map<String, Value>| {
        let conversation = take(fields, "conversation");
        format!("/v1/conversations/{conversation}/messages/{}", take(fields, "seq"))
    };
    let (method, path) = match kind.as_str() {
        "send" => (Method::POST, "/v1/messages".to_owned()),
        "ack" => (Method::POST, "/v1/ack".to_owned()),
        "read" => (Method::POST, conversation(&mut fields) + "/read"),
        "typing" => (Method::POST, conversation(&mut fields) + "/typing"),
        "publish" => (Method::POST, format!("/v1/channels/{}/messages", take(&mut fields, "channel"))),
        "edit" => (Method::PUT, message(&mut fields)),
        "recall" => (Method::DELETE, message(&mut fields)),
        "react" => {
            let path = message(&mut fields) + "/reactions/" + &take(&mut fields, "emoji");
            let on = fields.remove("on").is_some_and(|on| on == true);
            (if on { Method::PUT } else { Method::DELETE }, path)
        }
        "kick" => (Method::POST, "/v1/kick".to_owned()),
        "revoke" => (Method::POST, "/v1/revoke".to_owned()),
        "create_group" => (Method::POST, "/v1/conversations".to_owned()),
        "add_members" => (Method::POST, conversation(&mut fields) + "/members"),
        "rename" => (Method::PUT, conversation(&mut fields)),
        "members" => (Method::GET, conversation(&mut fields) + "/members"),
        "history" => (Method::GET, conversation(&mut fields) + "/messages"),
        "conversations" => (Method::GET, "/v1/conversations".to_owned()),
        "presence" => (Method::GET, "/v1/presence".to_owned()),
        "remove_member" => {
            let path = conversation(&mut fields) + "/members/" + &take(&mut fields, "user");
            (Method::DELETE, path)
        }
        "set_role" => {
            let path = conversation(&mut fields) + "/members/" + &take(&mut fields, "user");
            (Method::PUT, path)
        }
        other => return Err(Error::broken(format!("`{other}` has no HTTP resource here"))),
    };
    if method == Method::POST || method == Method::PUT {
        return Ok(Resource { method, path, body: Some(Value::Object(fields)) });
    }
    let path = path + &query(&fields);
    Ok(Resource { method, path, body: None })
}

/// Takes a field out, ready for a path.
fn take(fields: &mut Map<String, Value>, name: &str) -> String {
    fields.remove(name).map(|value| plain(&value)).unwrap_or_default()
}

fn query(fields: &Map<String, Value>) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => encode(text),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => encode(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_become_the_resources_of_the_protocol() {
        let cases = [
            (
                json!({"type": "send", "ref": 1, "to": "b", "body": 1}),
                "POST /v1/messages",
                Some(json!({"to": "b", "body": 1})),
            ),
            (
                json!({"type": "read", "conversation": "a~b@c", "seq": 3}),
                "POST /v1/conversations/a~b%40c/read",
                Some(json!({"seq": 3})),
            ),
            (
                json!({"type": "history", "conversation": "a~b", "limit": 2}),
                "GET /v1/conversations/a~b/messages?limit=2",
                None,
            ),
            (
                json!({"type": "remove_member", "conversation": "g_1", "user": "x"}),
                "DELETE /v1/conversations/g_1/members/x",
                None,
            ),
            (
                json!({"type": "set_role", "conversation": "g_1", "user": "x", "role": "reader"}),
                "PUT /v1/conversations/g_1/members/x",
                Some(json!({"role": "reader"})),
            ),
            (json!({"type": "presence", "users": ["a", "b"]}), "GET /v1/presence?users=a,b", None),
        ];
        for (command, line, body) in cases {
            let resource = of(&command).unwrap();
            assert_eq!(format!("{} {}", resource.method, resource.path), line);
            assert_eq!(resource.body, body);
        }
        assert!(of(&json!({"type": "ping"})).is_err());
    }
}
