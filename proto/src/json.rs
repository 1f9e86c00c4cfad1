//! JSON that every reader can read. Bodies are passed on byte for byte, so what
//! is valid JSON by its grammar but breaks the parser of those who get it is
//! refused when it comes: half a surrogate pair (RFC 8259 §8.2), and a number
//! beyond a double (§6). Gateways check what clients send, and routers what gateways
//! send ([`check_line`]).

use memchr::{memchr, memchr2_iter};

use crate::scanner;

/// JSON nested deeper than this is refused (PROTOCOL.md §5).
pub const MAX_DEPTH: usize = 128;

/// Beyond this a JSON number is not exact (RFC 8259 §6), nor is one in a script of
/// Redis.
pub const MAX_NUMBER: u64 = 1 << 53;

/// Digits of the largest double: a number needs an exponent or as many digits
/// to be beyond it.
pub(crate) const DIGITS: usize = 309;

/// Fails unless this is one JSON value on one line, which every reader can read. The
/// error is what comes behind the value's name.
pub fn check_line(bytes: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not valid UTF-8")?;
    let Some(json) = scanner::value(text) else {
        return Err(if too_deep(text) { "is nested too deep" } else { "is not valid JSON" });
    };
    // With blanks around it there may be a line break among them.
    if json.plain && json.text.len() == text.len() {
        return Ok(());
    }
    // Inside of strings JSON has none.
    if text.bytes().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err("is not on one line");
    }
    unreadable(text).map_or(Ok(()), Err)
}

/// Why not every reader could read this valid JSON; nothing when all can.
pub fn unreadable(json: &str) -> Option<&'static str> {
    if half_a_pair(json) {
        return Some("has half a surrogate pair (an escape from \\ud800 to \\udfff alone), which is no text");
    }
    too_large(json).then_some("has a number beyond what a double can hold (about 1.8e308)")
}

/// Whether JSON is nested deeper than [`MAX_DEPTH`]; brackets in strings do not
/// count.
pub fn too_deep(text: &str) -> bool {
    // Nearly every text has fewer brackets at all, which is quickly seen.
    memchr2_iter(b'{', b'[', text.as_bytes()).nth(MAX_DEPTH).is_some() && depth(text) > MAX_DEPTH
}

fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether an escape stands for half a character.
pub fn half_a_pair(json: &str) -> bool {
    let mut rest = json.as_bytes();
    // Only strings have backslashes.
    while let Some(at) = memchr(b'\\', rest) {
        rest = &rest[at..];
        rest = match escaped(rest) {
            None => rest.get(2..).unwrap_or_default(),
            Some(0xd800..=0xdbff) if matches!(escaped(&rest[6..]), Some(0xdc00..=0xdfff)) => &rest[12..],
            Some(0xd800..=0xdfff) => return true,
            Some(_) => &rest[6..],
        };
    }
    false
}

/// The unit of UTF-16 that `\uXXXX` at the front stands for.
fn escaped(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn too_large(json: &str) -> bool {
    // Nearly every text is seen at once to have no such number, in a string or
    // outside.
    if !may_be_large(json.as_bytes()) {
        return false;
    }
    let bytes = json.as_bytes();
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'0'..=b'9' if !in_string => {
                let is_of_number =
                    |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
                let length = bytes[at..].iter().take_while(is_of_number).count();
                if json[at..at + length].parse().is_ok_and(f64::is_infinite) {
                    return true;
                }
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Whether somewhere a digit stands before an `e`, or very many may stand
/// together: then one of them is at a place that is a multiple of so many.
fn may_be_large(bytes: &[u8]) -> bool {
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    memchr2_iter(b'e', b'E', bytes).any(|at| at > 0 && is_digit(at - 1))
        || (DIGITS - 1..bytes.len()).step_by(DIGITS).any(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_value_that_every_reader_can_read() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for json in [r#""hi""#, "1", "null", r#"{"a":"b"}"#, r#""a\"b""#, r#""ä\u0000""#, &nested(MAX_DEPTH)]
        {
            assert_eq!(check_line(json.as_bytes()), Ok(()), "{json}");
        }
        let deep = nested(MAX_DEPTH + 1);
        for json in [
            "",
            " ",
            "hi",
            r#"""#,
            r#""a"b""#,
            r#""a" "b""#,
            "[1",
            "{}{}",
            "\"\n\"",
            "\"\0\"",
            "[\n]",
            "[\r]",
            r#""\ud800""#,
            "1e999",
            r#""a\""#,
            &deep,
        ] {
            assert!(check_line(json.as_bytes()).is_err(), "{json}");
        }
        assert!(check_line(b"\"\xff\"").is_err());
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_wherever_it_stands() {
        for json in [
            r#""\ud800""#,
            r#""\uDFFF""#,
            r#""\udc00\ud800""#,
            r#""\ud800\ud800\udc00""#,
            r#"{"a\ud83d":1}"#,
            r#"["\\\ud83d"]"#,
            r#""\ud83dx\ude00""#,
        ] {
            assert!(unreadable(json).unwrap().contains("surrogate"), "{json}");
        }
        for json in [r#""\ud83d\ude00""#, r#""\\ud800""#, r#""\u0041\n""#, r#""\uffff""#, r#""😀""#] {
            assert_eq!(unreadable(json), None, "{json}");
        }
    }

    #[test]
    fn a_number_beyond_a_double_is_refused_and_a_text_that_looks_like_one_is_not() {
        let long = format!("[1{}]", "0".repeat(309));
        for json in ["1e999", "[-1E309]", r#"{"a":[1.8e+308]}"#, &long, r#"{"1e9":"x\"","b":2e400}"#] {
            assert!(unreadable(json).unwrap().contains("double"), "{json}");
        }
        let fits = format!("[1{},0.{}1]", "0".repeat(308), "0".repeat(400));
        for json in ["1e308", "1e-999", r#""1e999""#, r#"{"1e999":"\"1e999"}"#, "-0.5e1", "[]", &fits] {
            assert_eq!(unreadable(json), None, "{json}");
        }
    }
}
