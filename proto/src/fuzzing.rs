//! What fuzzing holds the parsers of this crate to (`fuzz/`): each function takes any
//! bytes, and panics where a rule is broken. Built for tests and for fuzzing alone.

use serde::de::IgnoredAny;

use crate::bookmark::Bookmark;
use crate::id::{ChannelId, ClientMessageId, ConversationId, DeviceId, NodeIncarnation, SessionId, UserId};
use crate::json::{MAX_DEPTH, check_line, too_deep, unreadable};
use crate::label::{MAX_NAME_CHARACTERS, check_emoji, check_name};
use crate::pattern::{Names, Pattern};
use crate::position::{Cursor, MAX_CURSOR, StoreIncarnation};
use crate::scanner;

/// What is accepted as an id is no longer than it may be, has only its characters,
/// and is the same text again.
pub fn ids(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    macro_rules! check {
        ($id:ident, $most:expr, $extra:expr) => {
            let read = $id::parse(text);
            if let Ok(id) = &read {
                assert_eq!(id.as_str(), text);
                assert_eq!(id.to_string().parse::<$id>().as_ref(), Ok(id));
            }
            let of_its_characters =
                text.chars().all(|one| one.is_ascii_alphanumeric() || $extra.contains(one));
            assert_eq!(read.is_ok(), (1..=$most).contains(&text.len()) && of_its_characters, stringify!($id));
        };
    }
    check!(UserId, 64, "._@-");
    check!(DeviceId, 64, "._@-");
    check!(SessionId, 64, "._-");
    check!(NodeIncarnation, 96, "._-");
    let client = ClientMessageId::parse(text).is_ok();
    assert_eq!(client, (1..=64).contains(&text.len()) && text.chars().all(|one| ('!'..='~').contains(&one)));
    let channel = text.strip_prefix("c_").is_some_and(|name| SessionId::parse(name).is_ok());
    assert_eq!(ChannelId::parse(text).is_ok(), channel);
    if let Ok(conversation) = ConversationId::parse(text) {
        assert_eq!(conversation.as_str(), text);
        match conversation.pair() {
            Some((one, other)) => {
                assert_eq!(ConversationId::direct(&other, &one), conversation);
                assert!(UserId::parse(one.as_str()).is_ok() && UserId::parse(other.as_str()).is_ok());
                assert!(conversation.admits(&one) && conversation.admits(&other));
            }
            None => assert!(conversation.is_group() && text.len() == 28),
        }
    }
    if let Ok(run) = NodeIncarnation::parse(text) {
        assert!(text.starts_with(run.node()));
    }
    if check_name(text).is_ok() {
        assert!(text.chars().count() <= MAX_NAME_CHARACTERS && !text.contains(['\n', '\0', '\u{1b}']));
    }
    assert!(check_emoji(text).is_err() || text.len() <= 64);
    let _any = StoreIncarnation::of(text);
}

/// A cursor has one text.
pub fn cursors(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = Bookmark::parse(text);
    assert_eq!(Cursor::parse(text).ok(), read.as_ref().ok().map(|bookmark| bookmark.inbox));
    let Ok(bookmark) = read else { return };
    assert!(text.len() <= MAX_CURSOR);
    assert_eq!(bookmark.to_string(), text);
    let mut inbox = String::new();
    bookmark.inbox.push_to(&mut inbox);
    assert_eq!(inbox, bookmark.inbox.to_string());
    assert!(bookmark.inbox.position.0 <= 1 << 53);
}

/// Patterns, one a line, and behind the last line break the name that is looked for.
pub fn patterns(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (patterns, name) = text.rsplit_once('\n').unwrap_or((text, ""));
    let patterns: Vec<Pattern> = patterns.lines().filter_map(|line| Pattern::parse(line).ok()).collect();
    let one_has_it = patterns.iter().any(|pattern| {
        let text = pattern.as_str();
        assert!((1..=66).contains(&text.len()));
        // A star stands at the end, or nowhere.
        assert!(text.find('*').is_none_or(|at| at + 1 == text.len()));
        text == name || text.find('*').is_some_and(|at| name.get(..at) == Some(&text[..at]))
    });
    let names = Names::of(patterns.clone());
    assert_eq!(names.has(name), one_has_it);
    let texts = names.texts();
    let again = Names::parse(texts.iter().map(String::as_str));
    assert_eq!(again.as_ref(), Ok(&names));
    // More patterns never take a name away.
    let more = Names::of(Vec::new()).and(patterns);
    assert_eq!(more.has(name), one_has_it);
}

/// Our reader of JSON accepts what serde's accepts, up to a depth; and what may
/// stand in a body every reader can read.
pub fn json(bytes: &[u8]) {
    let line = check_line(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(line.is_err());
        return;
    };
    let valid = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let read = scanner::value(text);
    assert_eq!(read.is_some(), valid && !too_deep(text));
    let mut members = Vec::new();
    let is_object = scanner::object(text, |name, value| {
        members.push((name.text, value.text));
        Some(())
    });
    let object = read.is_some_and(|json| json.text.starts_with('{'));
    assert_eq!(is_object.is_some(), object);
    if let Some(json) = read {
        assert_eq!(json.text, text.trim_matches([' ', '\t', '\r', '\n']));
        assert_eq!(line.is_ok(), unreadable(text).is_none() && !text.contains(['\n', '\r']));
        assert!(!json.plain || unreadable(json.text).is_none());
    } else {
        assert!(line.is_err());
    }
    if object {
        for (name, value) in &members {
            assert!(scanner::value(name).is_some() && scanner::value(value).is_some());
        }
    }
    // serde reads one level less.
    let shallow = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() < MAX_DEPTH;
    if line.is_ok() && shallow {
        let value: serde_json::Value = serde_json::from_str(text).expect("every reader can read a line");
        if let (Some(map), true) = (value.as_object(), object) {
            assert!(map.len() <= members.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use testbed::kept_inputs::try_all;

    #[test]
    fn ids() {
        try_all("ids", super::ids);
    }

    #[test]
    fn cursors() {
        try_all("cursors", super::cursors);
    }

    #[test]
    fn patterns() {
        try_all("patterns", super::patterns);
    }

    #[test]
    fn json() {
        try_all("json", super::json);
    }
}
