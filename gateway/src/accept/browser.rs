//! What every response tells a browser that may show it: to take it for what it
//! says it is, and to run and load nothing. A page of ours has a policy of its
//! own.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// For what is no page.
pub(super) const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
pub(super) const NO_SNIFF: &str = "nosniff";

/// Adds what a response does not say itself.
pub(super) fn protect(headers: &mut HeaderMap) {
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static(NO_SNIFF));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
}

/// Whether a response has this header once: a second policy would narrow the first.
pub(super) fn is_single(name: &HeaderName) -> bool {
    matches!(*name, header::X_CONTENT_TYPE_OPTIONS | header::CONTENT_SECURITY_POLICY)
}
