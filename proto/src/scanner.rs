//! Walks over JSON text once (RFC 8259): is it valid, how deep is it nested, and
//! where are the members of its object? What a command does not need is not
//! looked at a second time, and nothing is copied.

use crate::json::{DIGITS, MAX_DEPTH};

/// A JSON value as it stands in a text, without the blanks around it.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a> {
    /// The value's text.
    pub text: &'a str,
    /// It has no escape, no number that may be beyond a double, and no line break.
    pub plain: bool,
}

/// The members of the object that `text` is, in their order: the name, still in
/// its quotes, and the value. `member` is told of them while the text is
/// read. Nothing when the text is no object, is not valid or is nested too deep.
pub fn object<'a>(text: &'a str, mut member: impl FnMut(Json<'a>, Json<'a>) -> Option<()>) -> Option<()> {
    let mut scanner = Scanner::of(text);
    scanner.blanks();
    scanner.sequence(b'{', b'}', |scanner| {
        let name = scanner.json(Scanner::string)?;
        scanner.colon()?;
        member(name, scanner.json(|scanner| scanner.value(1))?)
    })?;
    scanner.end()
}

/// The value that `text` is. Nothing when it is not valid or is nested too deep.
pub fn value(text: &str) -> Option<Json<'_>> {
    let mut scanner = Scanner::of(text);
    scanner.blanks();
    let json = scanner.json(|scanner| scanner.value(0))?;
    scanner.end()?;
    Some(json)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// As [`Json`] has it, of the value that is being read.
    plain: bool,
}

impl<'a> Scanner<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, at: 0, plain: true }
    }

    /// What is read, as it stands there.
    fn json(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<Json<'a>> {
        self.plain = true;
        let from = self.at;
        read(self)?;
        Some(Json { text: self.text.get(from..self.at)?, plain: self.plain })
    }

    /// A value that stands inside so many arrays and objects.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'"' => self.string(),
            b'{' | b'[' if depth == MAX_DEPTH => None,
            b'{' => self.sequence(b'{', b'}', |scanner| {
                scanner.string()?;
                scanner.colon()?;
                scanner.value(depth + 1)
            }),
            b'[' => self.sequence(b'[', b']', |scanner| scanner.value(depth + 1)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    /// Elements between two brackets, with commas between them.
    fn sequence(
        &mut self,
        open: u8,
        close: u8,
        mut element: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        self.blanks();
        if self.next()? == close {
            return self.take(close);
        }
        loop {
            element(self)?;
            self.blanks();
            if self.next()? == close {
                return self.take(close);
            }
            self.take(b',')?;
            self.blanks();
        }
    }

    /// What stands between a member's name and its value.
    fn colon(&mut self) -> Option<()> {
        self.blanks();
        self.take(b':')?;
        self.blanks();
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            self.at += plain_bytes(self.rest());
            match self.next()? {
                b'"' => return self.take(b'"'),
                b'\\' => self.escape()?,
                // Control characters are escaped in JSON.
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.plain = false;
        let length = match self.rest().get(1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' if self.rest().get(2..6)?.iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return None,
        };
        self.at += length;
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let from = self.at;
        self.skip(|byte| byte == b'-', 1);
        let zero = self.next()? == b'0';
        let whole = self.digits()?;
        if zero && whole > 1 {
            return None;
        }
        if self.next() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.next(), Some(b'e' | b'E')) {
            self.plain = false;
            self.at += 1;
            self.skip(|byte| matches!(byte, b'+' | b'-'), 1);
            self.digits()?;
        }
        self.plain &= self.at - from < DIGITS;
        Some(())
    }

    /// Digits, of which there must be one; how many there are.
    fn digits(&mut self) -> Option<usize> {
        let count = self.skip(|byte| byte.is_ascii_digit(), usize::MAX);
        (count > 0).then_some(count)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    fn blanks(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r')) = self.next() {
            self.plain &= byte != b'\n' && byte != b'\r';
            self.at += 1;
        }
    }

    /// Nothing but blanks follows.
    fn end(&mut self) -> Option<()> {
        self.blanks();
        self.rest().is_empty().then_some(())
    }

    /// Goes past bytes of a kind, `most` of them; how many those were.
    fn skip(&mut self, is: impl Fn(u8) -> bool, most: usize) -> usize {
        let count = self.rest().iter().take(most).take_while(|byte| is(**byte)).count();
        self.at += count;
        count
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

/// How many bytes come before the first that means something in a string, or that
/// must not stand there. Eight at a time: a byte of `below` has its highest bit set
/// where that of `word` is less than `bound`; of several only the first counts.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let means = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let mut plain = 0;
    for word in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*word);
        let (quote, escape) = (word ^ (ONES * u64::from(b'"')), word ^ (ONES * u64::from(b'\\')));
        let found = (below(quote, 1) | below(escape, 1) | below(word, 0x20)) & (ONES << 7);
        if found != 0 {
            return plain + (found.trailing_zeros() / 8) as usize;
        }
        plain += 8;
    }
    plain + bytes[plain..].iter().take_while(|byte| !means(**byte)).count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn scanned(text: &str) -> Option<Vec<(String, &str)>> {
        let mut members = Vec::new();
        object(text, |name, value| {
            members.push((serde_json::from_str(name.text).ok()?, value.text));
            Some(())
        })?;
        Some(members)
    }

    /// The same by serde_json, whose map has each name once.
    fn parsed(text: &str) -> Option<BTreeMap<String, &RawValue>> {
        serde_json::from_str(text).ok()
    }

    /// Pieces of JSON, put together in any order: most of it is nearly valid.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\ud800\"",
            "\"\\x\"",
            "\"",
            "\\",
            " ",
            "\n",
            "\r",
            "\t",
            "\u{b}",
            "0",
            "-",
            "1",
            "01",
            "1.5",
            ".",
            "1e9",
            "1E+",
            "-0",
            "true",
            "false",
            "null",
            "nul",
            "é",
            "\u{1}",
            "\"\u{7f}\"",
            "\"a",
            "{\"a\":",
            "\"b\":[",
            "]}",
            "\"0123456789abcdef\"",
            "\\u12",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    /// What is valid, with one byte of ASCII changed or left out.
    fn damaged() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        let tree = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        });
        (tree, any::<prop::sample::Index>(), prop::option::of(0_u8..128)).prop_map(|(tree, at, byte)| {
            let mut text = format!("{{\"body\": {tree} ,\r\n\"x\":{tree}}}");
            let at = at.index(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                let with = byte.map(|byte| char::from(byte).to_string()).unwrap_or_default();
                text.replace_range(at..=at, &with);
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]
        #[test]
        fn what_is_taken_is_what_serde_json_takes(text in prop_oneof![pieces(), damaged()]) {
            let scanned = scanned(&text).map(|members| members.into_iter().collect::<BTreeMap<_, _>>());
            let parsed = parsed(&text);
            let parsed = parsed.map(|members| {
                members.into_iter().map(|(name, value)| (name, value.get())).collect::<BTreeMap<_, _>>()
            });
            prop_assert_eq!(scanned, parsed);
            let alone = value(&text).map(|json| json.text);
            prop_assert_eq!(alone, serde_json::from_str::<&RawValue>(&text).ok().map(RawValue::get));
        }

        #[test]
        fn a_string_is_plain_up_to_what_means_something(
            before in "[ !#-\\[\\]-~é]{0,40}",
            special in prop::sample::select(vec!['"', '\\', '\n', '\0', '\u{1f}']),
            after in ".{0,20}",
        ) {
            prop_assert_eq!(plain_bytes(format!("{before}{special}{after}").as_bytes()), before.len());
            prop_assert_eq!(plain_bytes(before.as_bytes()), before.len());
        }
    }

    #[test]
    fn names_keep_their_order_and_repeat() {
        let members = scanned(r#" { "a" : 1 , "b":[ 2, {"c":3} ],"a":"x" } "#).unwrap();
        let members: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(members, [("a", "1"), ("b", "[ 2, {\"c\":3} ]"), ("a", "\"x\"")]);
    }

    #[test]
    fn depth_is_counted_with_the_outermost_bracket() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(value(&nested(MAX_DEPTH)).is_some());
        assert!(value(&nested(MAX_DEPTH + 1)).is_none());
        assert!(scanned(&format!("{{\"a\":{}}}", nested(MAX_DEPTH - 1))).is_some());
        assert!(scanned(&format!("{{\"a\":{}}}", nested(MAX_DEPTH))).is_none());
    }

    #[test]
    fn what_may_need_a_second_look_is_not_plain() {
        let plain = |text: &str| value(text).unwrap().plain;
        let digits = "1".repeat(DIGITS);
        for text in [r#""a\n""#, "[1e3]", "[-2E1]", "[1,\n2]", "{\"a\":\r1}", &digits] {
            assert!(!plain(text), "{text}");
        }
        for text in ["\"é1e9\"", "[ 1.5,\t-2 ]", "{\"a\":true}", &digits[1..]] {
            assert!(plain(text), "{text}");
        }
        // Each value by itself.
        let mut seen = Vec::new();
        object("{\"a\":\"\\n\",\"b\":1\n}", |_, json| {
            seen.push(json.plain);
            Some(())
        });
        assert_eq!(seen, [false, true]);
    }
}
