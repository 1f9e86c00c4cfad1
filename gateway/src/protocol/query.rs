//! A request's query: names and values, decoded once, each name at most once.

use std::borrow::Cow;

use proto::{DeviceId, FormError};
use smallvec::SmallVec;

use crate::protocol::failure::Failure;

/// The parameters in their order.
#[derive(Debug, Default)]
pub struct Query<'a> {
    parameters: SmallVec<[(Cow<'a, str>, Cow<'a, str>); 6]>,
}

impl<'a> Query<'a> {
    /// Reads what stands after the `?`. A name that comes twice is refused:
    /// nobody can say which one was meant.
    pub fn parse(text: &'a str) -> Result<Self, Failure> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name =
                decode(name).ok_or_else(|| Failure::bad_request("a query parameter's name is not UTF-8"))?;
            if query.get(&name).is_some() {
                return Err(Failure::bad_request(format!(
                    "the query parameter `{}` is given twice",
                    shown(&name)
                )));
            }
            let value = decode(value).ok_or_else(|| {
                Failure::bad_request(format!("the query parameter `{}` is not UTF-8", shown(&name)))
            })?;
            query.parameters.push((name, value));
        }
        Ok(query)
    }

    /// The value of this name; empty when there is only the name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The value of this name, however its letters are written.
    pub fn get_in_any_case(&self, name: &str) -> Option<&str> {
        let same = |(known, _): &&(Cow<'_, str>, Cow<'_, str>)| known.eq_ignore_ascii_case(name);
        self.parameters.iter().find(same).map(|(_, value)| &**value)
    }

    /// An identifier.
    pub fn id<T>(&self, name: &str, parse: fn(&str) -> Result<T, FormError>) -> Result<Option<T>, Failure> {
        self.get(name).map(parse).transpose().map_err(|rule| Failure::field(name, &rule))
    }

    /// `?device=`.
    pub fn device(&self) -> Result<Option<DeviceId>, Failure> {
        self.id("device", DeviceId::parse)
    }

    /// A whole number from 0 to `most`.
    pub fn number(&self, name: &str, most: u64) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && number <= most => Ok(Some(number)),
            _ => Err(Failure::bad_request(format!("`{name}` must be a whole number from 0 to {most}"))),
        }
    }
}

/// Percent-decoding with `+` as a blank, as forms write it.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('+') {
        return percent_encoding::percent_decode_str(text).decode_utf8().ok();
    }
    let blanks = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&blanks).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

/// A name that a client made up, short enough for an error.
fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        Query::parse(text).unwrap_err().message
    }

    #[test]
    fn names_and_values_are_decoded() {
        let query = Query::parse("cursor=7.k2&name=a%20b+c%2B&empty=&bare&%64evice=d1&").unwrap();
        assert_eq!(query.get("cursor"), Some("7.k2"));
        assert_eq!(query.get("name"), Some("a b c+"));
        assert_eq!((query.get("empty"), query.get("bare"), query.get("none")), (Some(""), Some(""), None));
        assert_eq!(query.device().unwrap().unwrap().as_str(), "d1");
        assert!(Query::parse("").unwrap().get("").is_none());
        let query = Query::parse("lastEventID=7.k2").unwrap();
        assert_eq!((query.get("lasteventid"), query.get_in_any_case("lasteventid")), (None, Some("7.k2")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(wrong("a=1&b=2&%61=3"), "the query parameter `a` is given twice");
        assert_eq!(wrong("a=%ff"), "the query parameter `a` is not UTF-8");
        let query = Query::parse("device=a%20b&wait=-1&limit=+5").unwrap();
        assert!(query.device().unwrap_err().message.starts_with("`device` must be"));
        assert_eq!(
            query.number("wait", 60).unwrap_err().message,
            "`wait` must be a whole number from 0 to 60"
        );
        assert!(query.number("limit", 60).is_err());
    }
}
