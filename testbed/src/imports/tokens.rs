//! Rust's text as far as paths need it: names and punctuation, without comments
//! and without what stands in quotes.

const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// Names (also keywords and numbers), `::`, and single characters of punctuation.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, '"'),
            '\'' if is_character(rest) => quoted(rest, '\''),
            _ if raw_string(rest).is_some() => raw_string(rest).unwrap_or_default(),
            _ if is_part_of_name(first) => {
                let length = rest.find(|next| !is_part_of_name(next)).unwrap_or(rest.len());
                tokens.push(rest[..length].to_owned());
                length
            }
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
                tokens.push(rest[..length].to_owned());
                length
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn is_part_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    loop {
        match &text[at..] {
            "" => return at,
            rest if rest.starts_with("/*") => {
                depth += 1;
                at += 2;
            }
            rest if rest.starts_with("*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            rest => at += rest.chars().next().map_or(0, char::len_utf8),
        }
    }
}

/// The length of what stands between two of `quote`, with these.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a quote begins a character rather than a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    characters.next() == Some('\\') || characters.next() == Some('\'')
}

/// The length of a raw string, `r#"..."#`, if the text begins with one.
fn raw_string(text: &str) -> Option<usize> {
    let opening = ["r", "br", "cr"].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix).map(|rest| rest.trim_start_matches('#'));
        rest.is_some_and(|rest| rest.starts_with('"'))
    })?;
    let start = text.find('"')?;
    let closing = format!("\"{}", "#".repeat(start - opening.len()));
    let end = text[start + 1..].find(&closing)?;
    Some(start + 1 + end + closing.len())
}

/// Leaves out what stands under `#[cfg(test)]`.
pub(super) fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some(first) = rest.first() {
        if rest.len() >= CFG_TEST.len() && rest.iter().zip(CFG_TEST).all(|(token, of)| token == of) {
            rest = &rest[CFG_TEST.len()..];
            rest = &rest[item(rest)..];
        } else {
            kept.push(first.clone());
            rest = &rest[1..];
        }
    }
    kept
}

/// The length of the item at the front: to its semicolon, or to the brace that
/// closes its body.
fn item(tokens: &[String]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let is_closed = token == "}" && tokens.get(at + 1).is_none_or(|next| next != ";");
        if depth < 0 || depth == 0 && (token == ";" || is_closed) {
            return at + 1;
        }
    }
    tokens.len()
}
