//! What a token says of itself, for a person who looks at one: nothing of it has
//! been proved, and its signature is no part of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::header::Header;
use super::refusal::Refusal;
use crate::protocol::unauthorized::Reason;

/// Characters of one value that are shown.
const SHOWN: usize = 200;

/// A token's header and claims.
#[derive(Debug)]
pub struct Contents {
    header: Header,
    claims: Map<String, Value>,
}

impl Contents {
    /// Reads a token. Fails with `malformed` where there is nothing to show.
    pub fn of(token: &str) -> Result<Self, Refusal> {
        let header = Header::of(token)?;
        let claims = token.split('.').nth(1).and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok());
        let claims = claims.and_then(|json| serde_json::from_slice(&json).ok());
        let claims = claims.ok_or_else(|| Refusal::new(Reason::Malformed, "the token is not a JWT"))?;
        Ok(Self { header, claims })
    }

    /// A name and a value a line: who, on which device, what for, from when to
    /// when, and how it is signed. Claims that it does not have are left out,
    /// but `user` and `ends`, which every token needs.
    pub fn lines(&self, now: SystemTime) -> Vec<(&'static str, String)> {
        let claim = |name| self.claims.get(name).map(shown);
        let time = |name| self.claims.get(name).map(|value| moment(value, now));
        let missing = || Some("missing".to_owned());
        let lines = [
            ("user", claim("sub").or_else(missing)),
            ("device", claim("device")),
            ("scopes", claim("scope")),
            ("may subscribe to", claim("subscribe")),
            ("may see presence of", claim("presence")),
            ("issuer", claim("iss")),
            ("audience", claim("aud")),
            ("id", claim("jti")),
            ("issued", time("iat")),
            ("not before", time("nbf")),
            ("ends", time("exp").or_else(missing)),
            ("algorithm", Some(clean(&self.header.alg))),
            ("key id", self.header.kid.as_deref().map(clean)),
        ];
        lines.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A string as it is, a list of strings with commas, anything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            clean(&list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
        }
        other => clean(&other.to_string()),
    }
}

/// Without what would write to a terminal otherwise than as text, and not
/// without end: a token is anybody's.
fn clean(text: &str) -> String {
    let mut clean: String = text.chars().take(SHOWN).flat_map(visible).collect();
    if text.chars().nth(SHOWN).is_some() {
        clean.push('…');
    }
    clean
}

fn visible(char: char) -> impl Iterator<Item = char> {
    // Controls, and the marks that turn the direction of writing.
    let hidden = char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let (escaped, plain) = if hidden { (Some(char.escape_default()), None) } else { (None, Some(char)) };
    escaped.into_iter().flatten().chain(plain)
}

/// A NumericDate (RFC 7519 §2) as date and time, and how far it is from now.
fn moment(value: &Value, now: SystemTime) -> String {
    let Some(seconds) = value.as_f64() else { return format!("{}, which is no time", shown(value)) };
    let whole = seconds.max(0.0) as u64;
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(whole));
    // Beyond the year 9999 there is no form for it.
    let Some(at) = at.filter(|_| whole < 253_402_300_800) else {
        return format!("{}, beyond the year 9999", shown(value));
    };
    let words = match at.duration_since(now) {
        Ok(ahead) => format!("in {}", span(ahead)),
        Err(behind) => format!("{} ago", span(behind.duration())),
    };
    format!("{} ({words})", httpdate::fmt_http_date(at))
}

/// The largest unit that there are at least two of.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("days", 86_400), ("hours", 3_600), ("minutes", 60)];
    match units.into_iter().find(|(_, length)| seconds >= 2 * length) {
        Some((unit, length)) => format!("{} {unit}", seconds / length),
        None if seconds == 1 => "1 second".to_owned(),
        None => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.hidden", part(header), part(claims))
    }

    fn lines(claims: &Value) -> Vec<String> {
        let token = token(&json!({ "alg": "ES256", "kid": "k1" }), claims);
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let lines = Contents::of(&token).unwrap().lines(now);
        lines.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn a_token_says_who_what_for_and_until_when() {
        let said = lines(&json!({
            "sub": "alice", "device": "phone", "scope": "service publish", "iss": "https://issuer",
            "aud": ["a", "b"], "iat": 999_999_100, "nbf": 999_999_999.5, "exp": 1_000_172_800
        }));
        assert_eq!(
            said,
            [
                "user: alice",
                "device: phone",
                "scopes: service publish",
                "issuer: https://issuer",
                "audience: a, b",
                "issued: Sun, 09 Sep 2001 01:31:40 GMT (15 minutes ago)",
                "not before: Sun, 09 Sep 2001 01:46:39 GMT (1 second ago)",
                "ends: Tue, 11 Sep 2001 01:46:40 GMT (in 2 days)",
                "algorithm: ES256",
                "key id: k1",
            ]
        );
    }

    #[test]
    fn what_is_missing_or_strange_is_said_and_does_no_harm() {
        let said =
            lines(&json!({ "sub": "\u{1b}[2Jalice\u{202e}", "exp": "soon", "iat": 1e300, "device": 7 }));
        assert_eq!(
            said,
            [
                "user: \\u{1b}[2Jalice\\u{202e}",
                "device: 7",
                "issued: 1e+300, beyond the year 9999",
                "ends: soon, which is no time",
                "algorithm: ES256",
                "key id: k1",
            ]
        );
        let long = lines(&json!({ "sub": "a".repeat(1_000) }));
        assert_eq!(long[0], format!("user: {}…", "a".repeat(SHOWN)));
        assert_eq!(long[1], "ends: missing");
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        for text in ["", "a.b", "a.b.c", "e30.e30.e30", "eyJhbGciOiJFUzI1NiJ9.bnVsbA.x"] {
            assert_eq!(Contents::of(text).unwrap_err().word(), "malformed", "{text}");
        }
    }
}
