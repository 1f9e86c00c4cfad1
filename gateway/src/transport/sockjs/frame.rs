//! SockJS's frames: one letter, and for messages and closing a JSON array behind
//! it. What browsers' old transports change on the way is escaped.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};

use crate::transport::inside::{Close, Message};

/// Messages in one payload of a client's, at most.
pub(super) const MAX_MESSAGES: usize = 10_000;

/// What a client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// The session has begun.
    Open,
    /// A sign of life.
    Heartbeat,
    /// Messages, in their order.
    Messages(Vec<Message>),
    /// The session is over; whoever asks again is told again.
    Close(Close),
}

impl Frame {
    /// Its text, as every transport carries it.
    pub(super) fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Open => "o".into(),
            Self::Heartbeat => "h".into(),
            Self::Messages(messages) => {
                let mut out = String::from("a[");
                for (index, message) in messages.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    match message {
                        Message::Text(text) => quote(text, is_mangled, &mut out),
                        // There is no form for bytes: whoever speaks inside says none.
                        Message::Binary(bytes) => {
                            quote(&String::from_utf8_lossy(bytes), is_mangled, &mut out);
                        }
                    }
                }
                out.push(']');
                out.into()
            }
            Self::Close(Close { code, reason }) => {
                let mut out = format!("c[{code},");
                quote(reason, is_mangled, &mut out);
                out.push(']');
                out.into()
            }
        }
    }
}

/// Characters that browsers lose or change in answers, by SockJS's list. The
/// surrogates in it are no characters here.
fn is_mangled(character: char) -> bool {
    matches!(character, '\u{200c}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{ffff}')
}

/// A JSON string, in which the `escaped` characters (of 16 bits) are numbers.
pub(super) fn quote(text: &str, escaped: fn(char) -> bool, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        let short = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            character if character < ' ' || escaped(character) => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + character.len_utf8();
        if short.is_empty() {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// Why what a client has sent is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// There is nothing.
    Empty,
    /// Not a JSON array of strings.
    Json,
    /// More than [`MAX_MESSAGES`].
    TooMany,
}

/// The messages of a POST: a JSON array of strings. Whatever else is in it, and
/// however deep, is refused where it begins.
pub(super) fn messages(payload: &[u8]) -> Result<Vec<String>, Broken> {
    let payload = payload.trim_ascii();
    if payload.is_empty() {
        return Err(Broken::Empty);
    }
    let mut too_many = false;
    let mut json = serde_json::Deserializer::from_slice(payload);
    let read = json.deserialize_seq(Strings { too_many: &mut too_many });
    let read = read.and_then(|messages| json.end().map(|()| messages));
    read.map_err(|_| if too_many { Broken::TooMany } else { Broken::Json })
}

/// The messages of one WebSocket message: an array as above, or one string. An
/// empty one has none.
pub(super) fn messages_of_text(text: &str) -> Result<Vec<String>, Broken> {
    match text.trim_ascii_start().as_bytes().first() {
        None => Ok(Vec::new()),
        Some(b'"') => serde_json::from_str(text).map(|one| vec![one]).map_err(|_| Broken::Json),
        Some(_) => messages(text.as_bytes()),
    }
}

/// Reads strings, and no further when there are too many.
struct Strings<'a> {
    too_many: &'a mut bool,
}

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = Vec<String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = array.next_element()? {
            if messages.len() == MAX_MESSAGES {
                *self.too_many = true;
                return Err(A::Error::custom("too many"));
            }
            messages.push(message);
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transport::script::is_unsafe;

    fn array(texts: &[&str]) -> Frame {
        Frame::Messages(texts.iter().map(|text| Message::Text((*text).to_owned())).collect())
    }

    #[test]
    fn frames_are_a_letter_and_json() {
        assert_eq!((&*Frame::Open.text(), &*Frame::Heartbeat.text()), ("o", "h"));
        assert_eq!(array(&["a", "say \"x\"\n\0"]).text(), r#"a["a","say \"x\"\n\u0000"]"#);
        assert_eq!(Frame::Close(Close::new(3000, "Go away!")).text(), r#"c[3000,"Go away!"]"#);
    }

    #[test]
    fn what_browsers_change_is_escaped_and_nothing_else() {
        for (first, last) in [(0x200c, 0x200f), (0x2028, 0x202f), (0x2060, 0x206f), (0xfff0, 0xffff)] {
            for number in first..=last {
                let text = char::from_u32(number).unwrap().to_string();
                assert_eq!(array(&[&text]).text(), format!("a[\"\\u{number:04x}\"]"));
            }
            for number in [first - 1, last + 1] {
                let text = char::from_u32(number).unwrap().to_string();
                assert_eq!(array(&[&text]).text(), format!("a[\"{text}\"]"));
            }
        }
    }

    #[test]
    fn what_is_no_array_of_strings_is_broken() {
        assert_eq!(
            messages(b" [\"a\", \"\\ud83d\\ude00\"] "),
            Ok(vec!["a".to_owned(), "\u{1f600}".to_owned()])
        );
        assert_eq!(
            (messages(b"[]"), messages(b" "), messages(b"")),
            (Ok(vec![]), Err(Broken::Empty), Err(Broken::Empty))
        );
        for text in ["[\"a", "[\"a\"] x", "[1]", "[null]", "[[\"a\"]]", "{}", "\"a\"", "1", "[\"\\ud800\"]"] {
            assert_eq!(messages(text.as_bytes()), Err(Broken::Json), "{text}");
        }
        assert_eq!(messages(b"[\"\xff\"]"), Err(Broken::Json));
        assert_eq!(messages("[".repeat(10_000).as_bytes()), Err(Broken::Json));
        let many = |count: usize| format!("[{}]", vec!["\"\""; count].join(","));
        assert_eq!(messages(many(MAX_MESSAGES).as_bytes()).map(|all| all.len()), Ok(MAX_MESSAGES));
        assert_eq!(messages(many(MAX_MESSAGES + 1).as_bytes()), Err(Broken::TooMany));
    }

    #[test]
    fn a_websocket_carries_one_string_or_an_array_or_nothing() {
        assert_eq!(messages_of_text("\"a\""), Ok(vec!["a".to_owned()]));
        assert_eq!(messages_of_text("[\"a\"]"), Ok(vec!["a".to_owned()]));
        assert_eq!((messages_of_text(""), messages_of_text("[]")), (Ok(vec![]), Ok(vec![])));
        for text in ["[\"a", "a", "\"a\" \"b\"", "{}"] {
            assert_eq!(messages_of_text(text), Err(Broken::Json), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_through(texts: Vec<String>) {
            let frame = Frame::Messages(texts.iter().cloned().map(Message::Text).collect());
            prop_assert_eq!(messages(&frame.text().as_bytes()[1..]), Ok(texts));
        }

        #[test]
        fn no_text_can_end_a_script(text: String) {
            let mut out = String::new();
            quote(&text, is_unsafe, &mut out);
            let harmful = ['<', '>', '&', '\u{2028}', '\u{2029}'];
            prop_assert!(!out.contains(harmful));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
