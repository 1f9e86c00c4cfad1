//! The page that SockJS's client loads into an iframe where a page may not ask
//! another origin itself: it loads the client again, from `--sockjs-client-url`,
//! which then asks its own origin. The protocol fixes its body.

use aws_lc_rs::digest::{SHA256, digest};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::headers;
use crate::config::ClientUrl;

/// Its own script, whose hash the policy has.
const SCRIPT: &str = "
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  ";

/// The page, ready to be sent.
#[derive(Debug)]
pub(super) struct Page {
    body: String,
    tag: HeaderValue,
    policy: HeaderValue,
}

impl Page {
    /// `ancestors` is the policy's word on who may frame it; everybody without.
    pub(super) fn new(client: &ClientUrl, ancestors: Option<&HeaderValue>) -> Self {
        let body = format!(
            "<!DOCTYPE html>\n<html>\n<head>\n  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n  \
             <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n  \
             <script src=\"{}\"></script>\n  <script>{SCRIPT}</script>\n</head>\n<body>\n  \
             <h2>Don't panic!</h2>\n  \
             <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n</body>\n</html>",
            client.url(),
        );
        let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
        // The client asks its own origin, and opens iframes of it for `htmlfile`.
        let mut policy = format!(
            "default-src 'none'; script-src 'sha256-{}' {}; connect-src 'self'; frame-src 'self'",
            hash(SCRIPT),
            client.source(),
        );
        if let Some(ancestors) = ancestors.and_then(|value| value.to_str().ok()) {
            policy.push_str("; ");
            policy.push_str(ancestors);
        }
        let tag = format!("\"{}\"", hash(&format!("{policy}\n{body}")));
        let visible = |text: String| HeaderValue::try_from(text).expect("its parts are visible ASCII");
        Self { body, tag: visible(tag), policy: visible(policy) }
    }

    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        let known = asked.get_all(header::IF_NONE_MATCH).iter().any(|value| value == self.tag);
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, headers::HTML)], self.body.clone()).into_response()
        };
        headers::keep(&mut response);
        let answer = response.headers_mut();
        answer.insert(header::ETAG, self.tag.clone());
        answer.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_lets_in_the_client_and_the_page_s_own_script() {
        let client: ClientUrl = "https://cdn.test/s.js?v=2".parse().unwrap();
        let page = Page::new(&client, Some(&HeaderValue::from_static("frame-ancestors 'self'")));
        let script = page.body.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
        let hash = STANDARD.encode(digest(&SHA256, script.as_bytes()));
        let policy = page.policy.to_str().unwrap();
        assert!(policy.contains(&format!("script-src 'sha256-{hash}' https://cdn.test/s.js;")), "{policy}");
        assert!(
            policy.ends_with("; frame-ancestors 'self'")
                && page.body.contains("src=\"https://cdn.test/s.js?v=2\"")
        );
    }
}
