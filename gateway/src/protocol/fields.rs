//! The fields of a command before they are checked: from a JSON object, and
//! from an HTTP path or query. The getters say which field is wrong and how.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proto::FormError;
use proto::json::{MAX_DEPTH, MAX_NUMBER, half_a_pair, too_deep};
use proto::scanner::{self, Json};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::protocol::failure::Failure;

/// The fields of one command, unchecked, borrowed from its text.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    entries: SmallVec<[(Cow<'a, str>, Value<'a>); 8]>,
}

#[derive(Debug)]
enum Value<'a> {
    /// From a JSON object.
    Json(Json<'a>),
    /// JSON that was put together from another form.
    Owned(String),
    /// From a path or a query: a number there is text, too.
    Text(String),
}

impl Value<'_> {
    /// The JSON text; nothing for what comes from a path or a query.
    fn json(&self) -> Option<Json<'_>> {
        match self {
            Value::Json(json) => Some(*json),
            Value::Owned(text) => Some(Json { text, plain: false }),
            Value::Text(_) => None,
        }
    }

    /// As it was given, whichever form that has.
    fn given(&self) -> &str {
        match self {
            Value::Json(json) => json.text,
            Value::Owned(text) | Value::Text(text) => text,
        }
    }
}

impl<'a> Fields<'a> {
    /// A command without any fields.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The members of a JSON object.
    pub fn from_json(json: &'a [u8]) -> Result<Self, Failure> {
        let text =
            std::str::from_utf8(json).map_err(|_| Failure::bad_request("the JSON is not valid UTF-8"))?;
        Self::from_text(text)
    }

    /// The members of a JSON object.
    pub fn from_text(text: &'a str) -> Result<Self, Failure> {
        let mut fields = Self::empty();
        let taken = scanner::object(text, |name, value| {
            fields.entries.push((json_text(name)?, Value::Json(value)));
            Some(())
        });
        taken.map(|()| fields).ok_or_else(|| refusal(text))
    }

    /// Sets a field to a JSON value.
    pub fn set_json(&mut self, name: &'static str, json: String) {
        self.entries.push((Cow::Borrowed(name), Value::Owned(json)));
    }

    /// Sets a field from a path or a query; what the body says of it is
    /// overruled, so that a resource cannot be asked to act on another one.
    pub fn set(&mut self, name: &'static str, text: String) {
        self.entries.retain(|(known, _)| known != name);
        self.entries.push((Cow::Borrowed(name), Value::Text(text)));
    }

    /// The last of this name, as JSON has it by custom; `null` is absent.
    fn get(&self, name: &str) -> Option<&Value<'a>> {
        let (_, value) = self.entries.iter().rev().find(|(known, _)| known == name)?;
        (value.json().is_none_or(|json| json.text != "null")).then_some(value)
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'_, str>>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(Cow::Borrowed(text))),
            Some(value) => value
                .json()
                .and_then(json_text)
                .map(Some)
                .ok_or_else(|| Failure::bad_request(not_a_text(name, value))),
        }
    }

    /// A text that must be there.
    pub fn required_text(&self, name: &str) -> Result<Cow<'_, str>, Failure> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// An identifier.
    pub fn id<T>(&self, name: &str, parse: fn(&str) -> Result<T, FormError>) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|rule| Failure::field(name, &rule))
    }

    /// An identifier that must be there.
    pub fn required_id<T>(&self, name: &str, parse: fn(&str) -> Result<T, FormError>) -> Result<T, Failure> {
        self.id(name, parse)?.ok_or_else(|| missing(name))
    }

    /// A whole number from 0 on.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(name).map(Value::given) else { return Ok(None) };
        // `parse` takes a leading plus; JSON and URLs here do not.
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && number <= MAX_NUMBER => Ok(Some(number)),
            _ => Err(Failure::bad_request(format!("`{name}` must be a whole number from 0 to 2^53"))),
        }
    }

    /// True or false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        let Some(text) = self.get(name).map(Value::given) else { return Ok(None) };
        match text {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(Failure::bad_request(format!("`{name}` must be true or false"))),
        }
    }

    /// Whether a field is a list.
    pub fn is_list(&self, name: &str) -> bool {
        self.get(name).and_then(Value::json).is_some_and(|json| json.text.starts_with('['))
    }

    /// A list of identifiers.
    pub fn ids<T>(
        &self,
        name: &str,
        parse: fn(&str) -> Result<T, FormError>,
    ) -> Result<Option<Vec<T>>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let not_a_list = || Failure::bad_request(format!("`{name}` must be a list of strings"));
        let texts: Vec<Cow<'_, str>> = match value {
            Value::Text(text) => text.split(',').map(Cow::Borrowed).collect(),
            value => {
                let raws: Vec<&RawValue> = serde_json::from_str(value.given()).map_err(|_| not_a_list())?;
                raws.into_iter()
                    .map(|raw| json_text(Json { text: raw.get(), plain: false }))
                    .collect::<Option<_>>()
                    .ok_or_else(not_a_list)?
            }
        };
        let parsed = texts.iter().enumerate().map(|(index, text)| {
            parse(text).map_err(|rule| Failure::field(&format!("{name}[{index}]"), &rule))
        });
        parsed.collect::<Result<_, _>>().map(Some)
    }

    /// JSON as it was sent.
    pub(super) fn json(&self, name: &str) -> Option<Json<'_>> {
        let (_, value) = self.entries.iter().rev().find(|(known, _)| known == name)?;
        value.json()
    }

    /// A `ref`, as JSON to be echoed: a string or an integer.
    pub fn reference(&self) -> Result<Option<Box<str>>, Failure> {
        let Some(Json { text: json, plain }) = self.get("ref").and_then(Value::json) else { return Ok(None) };
        let integer = json.strip_prefix('-').unwrap_or(json).bytes().all(|b| b.is_ascii_digit());
        if !plain && half_a_pair(json) {
            return Err(Failure::bad_request("`ref` has half a surrogate pair, which is no text"));
        }
        if (!json.starts_with('"') && !integer) || json.len() > 256 {
            return Err(Failure::bad_request("`ref` must be a string or an integer of at most 256 bytes"));
        }
        Ok(Some(json.into()))
    }
}

/// The failure for a field that must be there.
pub fn missing(name: &str) -> Failure {
    Failure::bad_request(format!("`{name}` is missing"))
}

fn not_a_text(name: &str, value: &Value<'_>) -> String {
    match value.json().is_some_and(|json| half_a_pair(json.text)) {
        true => format!("`{name}` has half a surrogate pair, which is no text"),
        false => format!("`{name}` must be a string"),
    }
}

/// The text of a JSON string; nothing for another value, and for one with
/// half a surrogate pair, which is no text.
fn json_text(json: Json<'_>) -> Option<Cow<'_, str>> {
    let inner = json.text.strip_prefix('"')?.strip_suffix('"')?;
    if json.plain || !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json.text).ok().map(Cow::Owned)
}

/// Why a text is no frame. It is read anew for that, by a parser that says where
/// it stopped.
fn refusal(text: &str) -> Failure {
    if let Err(failure) = check_depth(text) {
        return failure;
    }
    match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
        Err(error) if error.classify() != serde_json::error::Category::Data => {
            Failure::bad_request(format!("not valid JSON: {error}"))
        }
        _ => Failure::bad_request("a frame must be a JSON object"),
    }
}

/// Refuses JSON that is nested too deep; brackets in strings do not count.
pub(super) fn check_depth(text: &str) -> Result<(), Failure> {
    if too_deep(text) {
        return Err(Failure::bad_request(format!("the JSON is nested deeper than {MAX_DEPTH} levels")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proto::UserId;

    use super::*;

    fn message<T: Debug>(result: Result<T, Failure>) -> String {
        result.unwrap_err().message
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_reason() {
        for text in ["", "{", "[1]", "7", "\"x\"", "{\"a\":}", "{\"a\":1}x", "{a:1}"] {
            assert!(Fields::from_text(text).is_err(), "{text}");
        }
        assert!(message(Fields::from_json(b"{\"a\":\"\xff\"}")).contains("UTF-8"));
        assert_eq!(message(Fields::from_text("[]")), "a frame must be a JSON object");
        let refusal = "not valid JSON: expected value at line 2 column 5";
        assert_eq!(message(Fields::from_text("{\n\"a\":}")), refusal);
        // What is too deep is told so, whatever else is wrong.
        assert!(message(Fields::from_text(&format!("}}{}", "[".repeat(129)))).contains("128 levels"));
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| format!("{{\"body\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Fields::from_text(&nested(127)).is_ok());
        assert!(message(Fields::from_text(&nested(128))).contains("128 levels"));
        let brackets = format!("{{\"body\":\"{}\\\"[\"}}", "[".repeat(500));
        assert!(Fields::from_text(&brackets).is_ok());
    }

    #[test]
    fn a_wrong_field_is_named() {
        let fields = Fields::from_text(r#"{"to":5,"seq":-1,"members":["a","b c"],"x":1.5}"#).unwrap();
        assert_eq!(message(fields.text("to")), "`to` must be a string");
        assert!(message(fields.number("seq")).starts_with("`seq` must be a whole number"));
        assert!(message(fields.number("x")).starts_with("`x` must be a whole number"));
        assert!(message(fields.ids("members", UserId::parse)).starts_with("`members[1]` must be"));
        assert_eq!(message(fields.required_text("none")), "`none` is missing");
    }

    #[test]
    fn escapes_are_read_in_names_and_texts_and_half_a_surrogate_pair_is_no_text() {
        let fields = Fields::from_text(r#"{"\u0074o":"\u0062ob","half":"\ud800"}"#).unwrap();
        assert_eq!(fields.text("to").unwrap().unwrap(), "bob");
        assert!(message(fields.text("half")).contains("half a surrogate pair"));
        let echoed = Fields::from_text(r#"{"ref":"\udc00"}"#).unwrap();
        assert!(message(echoed.reference()).contains("half a surrogate pair"));
    }

    #[test]
    fn the_path_overrules_the_body() {
        let mut fields = Fields::from_text(r#"{"seq":1}"#).unwrap();
        fields.set("seq", "2".into());
        assert_eq!(fields.number("seq"), Ok(Some(2)));
    }
}
