//! Writing JSON members into a growing text.

use std::fmt::Write as _;

/// `,"name":"text"`, escaped.
pub fn member(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, r#","{name}":"#);
    escape(out, text);
}

/// A text as a JSON string.
pub fn escape(out: &mut String, text: &str) {
    // Our own identifiers never need escaping; only names and messages may.
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("a text is always JSON"));
    }
}
