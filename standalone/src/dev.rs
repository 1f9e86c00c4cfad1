//! `POST /dev/token {"user", device?, scope?}` → `{token, user, expires_in}`:
//! for the demo page and for trying things with curl. Only where the system made
//! its own secret, and so only on loopback.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use gateway::caller::auth::token::Token;
use gateway::config::Secret;
use gateway::config::host;
use gateway::gateway::Gateway;
use gateway::protocol::failure::Failure;
use gateway::protocol::fields::Fields;
use gateway::protocol::scopes::Scopes;
use http::{HeaderMap, Uri, header};
use proto::{DeviceId, UserId};

/// How long these tokens live, where `--max-token-life` allows it.
pub const TTL: Duration = Duration::from_secs(24 * 3_600);

/// The route. Its tokens are signed with `secret` and live for `ttl`.
pub fn routes(secret: Secret, ttl: Duration) -> axum::Router<Arc<Gateway>> {
    let give = move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let secret = secret.clone();
        async move { give(&secret, ttl, &uri, &headers, &body) }
    };
    axum::Router::new().route("/dev/token", post(give))
}

fn give(
    secret: &Secret,
    ttl: Duration,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Failure> {
    if !is_from_here(uri, headers) {
        return Err(Failure::forbidden("tokens are given to programs and pages of this machine only"));
    }
    let fields = Fields::from_json(body)?;
    let user = fields.required_id("user", UserId::parse)?;
    let device = fields.id("device", DeviceId::parse)?;
    let scope = fields.text("scope")?;
    if let Some(wrong) = scope
        .as_deref()
        .and_then(|scope| scope.split_ascii_whitespace().find(|word| !Scopes::NAMES.contains(word)))
    {
        let known = Scopes::NAMES.join(" and ");
        let wrong: String = wrong.chars().take(40).collect();
        return Err(Failure::bad_request(format!("`scope` has `{wrong}`, and there are {known}")));
    }
    let token = Token {
        sub: user.as_str(),
        device: device.as_ref().map(DeviceId::as_str),
        scope: scope.map(|scope| scope.into_owned()),
        ttl,
        ..Token::default()
    };
    let token = token.sign(secret).map_err(|_| Failure::internal("the token could not be signed"))?;
    // Neither a token nor a user id has anything that JSON would escape.
    let body = format!(r#"{{"token":"{token}","user":"{user}","expires_in":{}}}"#, ttl.as_secs());
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body)
        .into_response())
}

/// A page of another site must not get a token through its visitor's browser.
/// `Origin` tells such a page; `Host` tells one whose own name points to this
/// machine (DNS rebinding).
fn is_from_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or_default());
    host::of(uri, headers).is_none_or(host::is_loopback)
        && origin
            .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, rest)| host::is_loopback(rest)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn from(host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        is_from_here(&Uri::from_static("/dev/token"), &headers)
    }

    #[test]
    fn only_this_machine_gets_tokens() {
        assert!(from("localhost:8080", None));
        assert!(from("127.0.0.1:8080", Some("http://localhost:3000")));
        assert!(from("[::1]:8080", Some("http://[::1]:8080")) && from("[::1]", None));
        assert!(!from("rebound.example:8080", None) && !from("127.0.0.1.example:8080", None));
        // Over HTTP/2 the host stands in the target.
        let rebound = Uri::from_static("http://rebound.example/dev/token");
        assert!(!is_from_here(&rebound, &HeaderMap::new()));
        assert!(
            !from("localhost:8080", Some("https://evil.example")) && !from("localhost:8080", Some("null"))
        );
    }
}
