//! The forever iframe: a page that never ends. For each frame it has a script
//! that calls a function of the page that contains it, or posts to that page.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use axum::routing::get;

use super::pump::{self, Framing};
use super::script;
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::protocol::query::Query;

/// The bytes that browsers gather before they run the beginning of a page.
const PADDING: usize = 1_024;

/// `GET /v1/iframe`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/iframe", get(open))
}

async fn open(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let scripts = Scripts::parse(&query)?;
    if let Some(origin) = &scripts.origin
        && !gateway.config.origins.allows(origin)
    {
        return Err(Failure::forbidden("`origin` is not one that may use this server"));
    }
    // An iframe's request has no origin: the browser must check it.
    let policy = script::policy(gateway.config.origins.frame_policy().as_ref());
    let mut response = pump::open(gateway, caller, &uri, &headers, scripts).await?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// The receiver of each frame.
#[derive(Debug, PartialEq, Eq)]
struct Scripts {
    /// The path of a function below `parent`; `parent.postMessage` to post.
    callback: String,
    /// The origin to post to.
    origin: Option<String>,
}

impl Scripts {
    fn parse(query: &Query<'_>) -> Result<Self, Failure> {
        let callback = query.get("callback").ok_or_else(|| Failure::bad_request("`callback` is missing"))?;
        if callback != "postMessage" {
            script::check_callback_of_parent(callback)?;
            return Ok(Self { callback: callback.to_owned(), origin: None });
        }
        let origin = query
            .get("origin")
            .ok_or_else(|| Failure::bad_request("`callback=postMessage` needs `origin`"))?;
        match origin_of(origin) {
            Some(origin) => Ok(Self { callback: "parent.postMessage".to_owned(), origin: Some(origin) }),
            None => Err(Failure::bad_request("`origin` must be an origin such as https://app.example.com")),
        }
    }
}

/// The origin in its canonical form (RFC 6454 §6.2): no path, no user, and
/// nothing that could end a string of the script.
fn origin_of(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let origin = url.origin().ascii_serialization();
    // A URL's host may contain more than names do, for example quotes.
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:/[]_".contains(&b)) {
        return None;
    }
    (matches!(url.scheme(), "http" | "https") && origin == text.to_ascii_lowercase()).then_some(origin)
}

impl Framing for Scripts {
    const NAME: &'static str = "iframe";
    const CONTENT_TYPE: &'static str = "text/html; charset=utf-8";

    fn preamble(&self, out: &mut String) {
        out.push_str("<!doctype html><meta charset=\"utf-8\"><title>switchboard</title>");
        out.extend(std::iter::repeat_n(' ', PADDING));
        out.push('\n');
    }

    fn frame(&self, frame: &Frame, cursor: Option<&str>, out: &mut String) {
        let _ = write!(out, "<script>{}(", self.callback);
        let mut json = String::new();
        frame.write_json_at(&mut json, cursor);
        script::escape(&json, out);
        if let Some(origin) = &self.origin {
            let _ = write!(out, ",\"{origin}\"");
        }
        out.push_str(")</script>\n");
    }

    /// A `pong` frame, since the page sees no other sign of life: browsers do
    /// not tell it when the connection ends.
    fn heartbeat(&self, out: &mut String) {
        self.frame(&Frame::Pong(None), None, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Scripts, Failure> {
        Scripts::parse(&Query::parse(query).unwrap())
    }

    #[test]
    fn a_callback_is_a_path_of_names_below_the_page_that_contains_the_iframe() {
        for callback in ["parent.onFrame", "parent.$_9.x", "parent.parent.x"] {
            assert!(parse(&format!("callback={callback}")).is_ok(), "{callback}");
        }
        for callback in [
            "",
            "9x",
            ".x",
            "alert",
            "document.write",
            "parent",
            "parent.",
            "parent..x",
            "parent.9x",
            "parent.x.",
            "Parent.x",
            "xparent.x",
            "parent.a(b)",
            "parent.a%3Bb",
            "parent.a-b",
        ] {
            assert!(parse(&format!("callback={callback}")).is_err(), "{callback}");
        }
        assert!(parse("").is_err());
        assert!(parse(&format!("callback=parent.{}", "a".repeat(58))).is_err());
    }

    #[test]
    fn posting_needs_an_origin() {
        let posting = parse("callback=postMessage&origin=https://app.example.com").unwrap();
        assert_eq!(posting.callback, "parent.postMessage");
        for origin in ["", "*", "https://a/b", "javascript:x", "https://a\"b", "https://u@a"] {
            assert!(parse(&format!("callback=postMessage&origin={origin}")).is_err(), "{origin}");
        }
    }
}
