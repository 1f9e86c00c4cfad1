//! Answers that are scripts, or parts of one: which function of a page they may
//! call, and how JSON stands in them.

use std::fmt::Write as _;

use http::HeaderValue;

use crate::protocol::failure::Failure;

/// Refuses a `callback` that is not a path of names from the window
/// (`[A-Za-z_$][A-Za-z0-9_$.]{0,63}`).
pub(super) fn check_callback(text: &str) -> Result<(), Failure> {
    if is_path(text) {
        return Ok(());
    }
    Err(Failure::bad_request(
        "`callback` must be 1 to 64 characters of A-Z a-z 0-9 _ $ . and not begin with a digit or a dot",
    ))
}

/// Refuses a callback that is not a path of names below the page that contains
/// this one: `parent.` and at least one name.
pub(super) fn check_callback_of_parent(text: &str) -> Result<(), Failure> {
    if is_path(text) && text.strip_prefix("parent.").is_some_and(|names| names.split('.').all(is_path)) {
        return Ok(());
    }
    Err(Failure::bad_request(
        "`callback` must be `postMessage`, or `parent.` and a name such as parent.onFrame: at most 64 characters of \
         A-Z a-z 0-9 _ $ . in all",
    ))
}

fn is_path(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'$');
    first && text.len() <= 64 && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.'))
}

/// The policy of a page that is nothing but such scripts. `ancestors` says who may
/// frame it, as [`crate::config::Origins::frame_policy`] has it; everybody without.
pub(super) fn policy(ancestors: Option<&HeaderValue>) -> HeaderValue {
    const SCRIPTS: &str = "default-src 'none'; script-src 'unsafe-inline'";
    let Some(ancestors) = ancestors else { return HeaderValue::from_static(SCRIPTS) };
    let policy = [SCRIPTS.as_bytes(), b"; ", ancestors.as_bytes()].concat();
    HeaderValue::from_bytes(&policy).expect("both are headers' values")
}

/// What could end a script, begin a comment in it, or in older engines end a line.
pub(super) fn is_unsafe(character: char) -> bool {
    matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// JSON as a script's text: `<` could end the script or begin a comment in it,
/// and the two separators end a line in older engines. In JSON all of them
/// stand only in strings, where an escape means the same.
pub(super) fn escape(json: &str, out: &mut String) {
    for character in json.chars() {
        match character {
            unsafe_one if is_unsafe(unsafe_one) => {
                let _ = write!(out, "\\u{:04x}", u32::from(unsafe_one));
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_can_end_the_script_and_all_come_through(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            let mut script = String::new();
            escape(&json, &mut script);
            let harmful = ['<', '>', '&', '\u{2028}', '\u{2029}'];
            prop_assert!(!script.contains(harmful));
            let back: String = serde_json::from_str(&script).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
