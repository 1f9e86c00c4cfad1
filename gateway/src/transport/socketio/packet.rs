//! Socket.IO's packets: a digit for the type, the number of attachments, the
//! namespace, an id for the acknowledgement, and JSON. Attachments are messages of
//! bytes after it.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::transport::inside::Message;

/// Attachments of one packet at most, as the parser of Socket.IO's own servers.
const MAX_ATTACHMENTS: usize = 10;
/// The main namespace, whose name is not written in packets.
pub(super) const MAIN: &str = "/";

/// Event names that clients use for themselves.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The kinds of packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// With `auth`, a JSON object, if the client gave one.
    Connect(Option<String>),
    Disconnect,
    /// Its JSON is an array that begins with the name.
    Event(Payload),
    /// Its JSON is an array.
    Ack(Payload),
}

/// A JSON array with its attachments, to which it refers by their numbers
/// (`{"_placeholder":true,"num":0}`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// The array's text.
    pub json: String,
    /// The attachments in the order of their numbers.
    pub attachments: Vec<Bytes>,
}

/// A packet from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    /// The id of the acknowledgement that is asked for, or given.
    pub(super) id: Option<u64>,
    /// The number of attachments that follow.
    pub(super) missing: usize,
}

/// The error for something that is no packet, or no packet that may come now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong;

impl Packet {
    pub(super) fn decode(text: &str) -> Result<Self, Wrong> {
        let (kind, rest) = text.split_at_checked(1).ok_or(Wrong)?;
        let (missing, rest) = match kind {
            "5" | "6" => attachments(rest)?,
            _ => (0, rest),
        };
        let (namespace, rest) = namespace(rest);
        let (id, json) = id(rest)?;
        let payload = || Payload { json: json.to_owned(), attachments: Vec::new() };
        let kind = match kind {
            "0" => Kind::Connect(object(json)?),
            "1" if json.is_empty() => Kind::Disconnect,
            "2" | "5" => Kind::Event(payload()),
            "3" | "6" => Kind::Ack(payload()),
            // Only a server sends `connect_error`.
            _ => return Err(Wrong),
        };
        Ok(Self { kind, namespace: namespace.to_owned(), id, missing })
    }

    pub(super) fn attach(&mut self, bytes: Bytes) {
        if let Kind::Event(payload) | Kind::Ack(payload) = &mut self.kind {
            payload.attachments.push(bytes);
        }
        self.missing = self.missing.saturating_sub(1);
    }
}

fn attachments(text: &str) -> Result<(usize, &str), Wrong> {
    let (count, rest) = text.split_once('-').ok_or(Wrong)?;
    let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|count| digits && *count <= MAX_ATTACHMENTS).ok_or(Wrong)?;
    Ok((count, rest))
}

fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return (MAIN, text);
    }
    // Clients may write a query behind the name, which means nothing here.
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    (name.split('?').next().unwrap_or(name), rest)
}

fn id(text: &str) -> Result<(Option<u64>, &str), Wrong> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (id, rest) = text.split_at(digits);
    let id = if id.is_empty() { None } else { Some(id.parse().map_err(|_| Wrong)?) };
    Ok((id, rest))
}

fn object(json: &str) -> Result<Option<String>, Wrong> {
    if json.is_empty() {
        return Ok(None);
    }
    let object = serde_json::from_str::<&RawValue>(json).map_err(|_| Wrong)?;
    object.get().starts_with('{').then(|| Some(object.get().to_owned())).ok_or(Wrong)
}

impl Payload {
    /// A payload without attachments.
    pub fn text(json: impl Into<String>) -> Self {
        Self { json: json.into(), attachments: Vec::new() }
    }

    /// The array's elements. Fails if the JSON is no array, or refers to an attachment
    /// that is not there.
    pub(super) fn elements(&self) -> Result<Vec<&RawValue>, Wrong> {
        let elements = serde_json::from_str(&self.json).map_err(|_| Wrong)?;
        if !self.attachments.is_empty() {
            let value = serde_json::from_str(&self.json).map_err(|_| Wrong)?;
            self.look_for_placeholders(&value)?;
        }
        Ok(elements)
    }

    fn look_for_placeholders(&self, value: &serde_json::Value) -> Result<(), Wrong> {
        match value {
            serde_json::Value::Array(elements) => {
                elements.iter().try_for_each(|element| self.look_for_placeholders(element))
            }
            serde_json::Value::Object(members) => {
                if members.get("_placeholder") == Some(&serde_json::Value::Bool(true)) {
                    let number = members.get("num").and_then(serde_json::Value::as_u64);
                    let known = number.is_some_and(|number| number < self.attachments.len() as u64);
                    return known.then_some(()).ok_or(Wrong);
                }
                members.values().try_for_each(|member| self.look_for_placeholders(member))
            }
            _ => Ok(()),
        }
    }
}

/// The name of an event: its first element, a text or a number.
pub(super) fn name(element: Option<&&RawValue>) -> Result<String, Wrong> {
    let text = element.ok_or(Wrong)?.get();
    if text.starts_with('"') {
        let name: String = serde_json::from_str(text).map_err(|_| Wrong)?;
        return (!RESERVED.contains(&name.as_str())).then_some(name).ok_or(Wrong);
    }
    let number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    number.then(|| text.to_owned()).ok_or(Wrong)
}

/// Writes packets to a client.
pub(super) mod write {
    use super::{MAIN, Message, Payload};

    pub(in super::super) fn connect(namespace: &str, json: &str) -> Message {
        packet('0', None, namespace, None, json)
    }

    pub(in super::super) fn disconnect(namespace: &str) -> Message {
        packet('1', None, namespace, None, "")
    }

    pub(in super::super) fn connect_error(namespace: &str, json: &str) -> Message {
        packet('4', None, namespace, None, json)
    }

    pub(in super::super) fn event(
        namespace: &str,
        id: Option<u64>,
        payload: Payload,
        out: &mut Vec<Message>,
    ) {
        with_attachments(['2', '5'], namespace, id, payload, out);
    }

    pub(in super::super) fn ack(namespace: &str, id: u64, payload: Payload, out: &mut Vec<Message>) {
        with_attachments(['3', '6'], namespace, Some(id), payload, out);
    }

    fn with_attachments(
        [plain, binary]: [char; 2],
        namespace: &str,
        id: Option<u64>,
        payload: Payload,
        out: &mut Vec<Message>,
    ) {
        let Payload { json, attachments } = payload;
        let count = attachments.len();
        let (kind, count) = if count == 0 { (plain, None) } else { (binary, Some(count)) };
        out.push(packet(kind, count, namespace, id, &json));
        out.extend(attachments.into_iter().map(Message::Binary));
    }

    fn packet(
        kind: char,
        attachments: Option<usize>,
        namespace: &str,
        id: Option<u64>,
        json: &str,
    ) -> Message {
        let mut text = String::with_capacity(json.len() + 8);
        text.push(kind);
        if let Some(count) = attachments {
            text.push_str(&format!("{count}-"));
        }
        if namespace != MAIN {
            text.push_str(namespace);
            text.push(',');
        }
        if let Some(id) = id {
            text.push_str(&id.to_string());
        }
        text.push_str(json);
        Message::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Packet {
        Packet::decode(text).unwrap()
    }

    #[test]
    fn a_packet_has_a_type_a_namespace_an_id_and_json() {
        let packet =
            |kind, namespace: &str, id| Packet { kind, namespace: namespace.to_owned(), id, missing: 0 };
        let event = |json| Kind::Event(Payload::text(json));
        assert_eq!(decode("0"), packet(Kind::Connect(None), "/", None));
        assert_eq!(decode("0/a,{\"b\":1}"), packet(Kind::Connect(Some("{\"b\":1}".to_owned())), "/a", None));
        assert_eq!(decode("0/a?b=c,"), packet(Kind::Connect(None), "/a", None));
        assert_eq!(decode("1/a"), packet(Kind::Disconnect, "/a", None));
        assert_eq!(decode("212[\"foo\"]"), packet(event("[\"foo\"]"), "/", Some(12)));
        assert_eq!(decode("2/a,[\"foo\"]"), packet(event("[\"foo\"]"), "/a", None));
        assert_eq!(decode("3/a,13[]"), packet(Kind::Ack(Payload::text("[]")), "/a", Some(13)));
        assert_eq!(
            decode("52-/a,7[\"b\"]"),
            Packet { missing: 2, ..packet(event("[\"b\"]"), "/a", Some(7)) }
        );
    }

    #[test]
    fn what_is_no_packet_is_wrong() {
        for text in [
            "",
            "7",
            "abc",
            "€",
            "4{\"message\":\"no\"}",
            "0[]",
            "0{",
            "1{}",
            "5[\"foo\"]",
            "5-[\"foo\"]",
            "5+1-[\"foo\"]",
            "511-[\"foo\"]",
            "599999999999999999999-[\"foo\"]",
            "2999999999999999999999[\"foo\"]",
        ] {
            assert_eq!(Packet::decode(text), Err(Wrong), "{text}");
        }
    }

    #[test]
    fn a_payload_is_an_array_and_names_attachments_that_there_are() {
        let elements = |json: &str, count| {
            let attachments = vec![Bytes::new(); count];
            Payload { json: json.to_owned(), attachments }.elements().map(|elements| elements.len())
        };
        assert_eq!(elements("[\"a\",{\"b\":[1]}]", 0), Ok(2));
        assert_eq!(elements(r#"["a",[{"_placeholder":true,"num":1}]]"#, 2), Ok(2));
        assert_eq!(
            elements(r#"["a",{"_placeholder":true,"num":7}]"#, 0),
            Ok(2),
            "no attachments, no meaning"
        );
        for wrong in [
            r#"["a",{"_placeholder":true,"num":2}]"#,
            r#"["a",{"_placeholder":true,"num":-1}]"#,
            r#"["a",{"_placeholder":true,"num":"0"}]"#,
            r#"["a",{"b":[{"_placeholder":true}]}]"#,
            "{}",
            "[\"a\"",
            "",
        ] {
            assert_eq!(elements(wrong, 2), Err(Wrong), "{wrong}");
        }
    }

    #[test]
    fn an_event_has_a_name_that_is_not_a_clients_own() {
        let named = |json: &str| {
            let payload = Payload::text(json);
            let elements = payload.elements()?;
            name(elements.first())
        };
        assert_eq!(named("[\"foo\",1]").as_deref(), Ok("foo"));
        assert_eq!(named("[7]").as_deref(), Ok("7"));
        for wrong in ["[]", "[null]", "[[\"a\"]]", "[\"connect\"]", "[\"disconnecting\"]"] {
            assert_eq!(named(wrong), Err(Wrong), "{wrong}");
        }
    }

    #[test]
    fn packets_are_written_as_they_are_read() {
        assert_eq!(write::connect("/", "{}"), Message::Text("0{}".to_owned()));
        assert_eq!(write::disconnect("/a"), Message::Text("1/a,".to_owned()));
        assert_eq!(write::connect_error("/a", "{}"), Message::Text("4/a,{}".to_owned()));
        let mut out = Vec::new();
        write::event("/", Some(3), Payload::text("[\"a\"]"), &mut out);
        let bytes = Bytes::from_static(&[1, 2]);
        write::ack("/a", 4, Payload { json: "[]".to_owned(), attachments: vec![bytes.clone()] }, &mut out);
        let text = |text: &str| Message::Text(text.to_owned());
        assert_eq!(out, [text("23[\"a\"]"), text("61-/a,4[]"), Message::Binary(bytes)]);
    }
}
