//! What fuzzing holds SockJS's frames and paths to.

use serde_json::Value;

use super::frame::{Broken, Frame, MAX_MESSAGES, messages, messages_of_text, quote};
use super::path::Place;
use crate::transport::inside::{Close, Message};
use crate::transport::script::{check_callback, check_callback_of_parent, is_unsafe};

/// What a client posts: messages are read as serde reads an array of strings, and
/// come out of our frames as they went in, without what browsers change or what ends
/// a script. The same text is a path, too.
pub fn sockjs(bytes: &[u8]) {
    let read = messages(bytes);
    match (serde_json::from_slice::<Vec<String>>(bytes), &read) {
        (Ok(expected), Ok(read)) => assert_eq!(read, &expected),
        (Ok(expected), Err(broken)) => {
            assert!(*broken == Broken::TooMany && expected.len() > MAX_MESSAGES);
        }
        // serde takes no other blanks around it than JSON has.
        (Err(_), Ok(read)) => assert!(bytes.trim_ascii().len() < bytes.len() && read.len() <= MAX_MESSAGES),
        (Err(_), Err(_)) => {}
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let single = messages_of_text(text);
    if let (Ok(read), Ok(single)) = (&read, &single) {
        assert_eq!(read, single);
    }
    for messages in [read, single, Ok(vec![text.to_owned()])].into_iter().flatten() {
        check_frame(messages);
    }
    if let Some(place) = Place::of(text) {
        assert_eq!(Some(place), Place::of(text.strip_suffix('/').unwrap_or(text)));
        if let Place::Receive(_, session) | Place::Send(_, session) = place {
            assert!((1..=128).contains(&session.len()) && !session.contains(['/', '.']));
        }
    }
    let harmless = |text: &str| text.len() <= 64 && !text.contains(['(', '<', '\'', '"', ' ', ';', '\n']);
    assert!(check_callback(text).is_err() || harmless(text));
    assert!(check_callback_of_parent(text).is_err() || (harmless(text) && text.starts_with("parent.")));
}

fn check_frame(messages: Vec<String>) {
    let close =
        Frame::Close(Close { code: 3000, reason: messages.first().cloned().unwrap_or_default().into() });
    let json: Value = serde_json::from_str(&close.text()[1..]).expect("a close frame has JSON");
    assert_eq!(json[0], 3000);
    assert_eq!(json[1].as_str(), Some(messages.first().map_or("", String::as_str)));

    let frame = Frame::Messages(messages.iter().cloned().map(Message::Text).collect());
    let text = frame.text();
    let read: Vec<String> =
        serde_json::from_str(text.strip_prefix('a').expect("messages")).expect("an array");
    assert_eq!(read, messages);
    assert!(!text.contains(['\n', '\r', '\u{200d}', '\u{2028}', '\u{2066}', '\u{ffff}']));
    let mut script = String::new();
    quote(&text, is_unsafe, &mut script);
    assert!(!script.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\n']));
    assert_eq!(serde_json::from_str::<String>(&script).expect("a string"), text);
}
