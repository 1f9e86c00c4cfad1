//! Headers that SockJS's protocol demands: who may read an answer, how long it
//! may be kept, and a cookie for load balancers that need one.

use std::time::{Duration, SystemTime};

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// A year, in seconds: for what never changes.
const YEAR: u64 = 31_536_000;

pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=UTF-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");
pub(super) const SCRIPT: HeaderValue = HeaderValue::from_static("application/javascript; charset=UTF-8");
pub(super) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Those of an answer to a request with these, which must not be kept.
pub(super) fn of_answer(asked: &HeaderMap, cookie: bool, response: &mut Response) {
    keep_nothing(response);
    allow_origin(asked, response);
    if cookie {
        set_cookie(asked, response);
    }
}

/// Pages of the origin that asks may read the answer, with cookies: a load
/// balancer may need them, and here they mean nothing. `null`, of a page without
/// an origin, is answered like any other.
pub(super) fn allow_origin(asked: &HeaderMap, response: &mut Response) {
    let headers = response.headers_mut();
    let origin = asked.get(header::ORIGIN);
    if origin.is_some() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    let origin = origin.cloned().unwrap_or(HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let asked = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|value| !value.is_empty());
    if let Some(names) = asked {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
}

/// The answer to a preflight, which browsers may keep.
pub(super) fn allow_methods(methods: &'static str, response: &mut Response) {
    keep(response);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(YEAR));
}

/// May be kept for a year.
pub(super) fn keep(response: &mut Response) {
    let headers = response.headers_mut();
    let control = format!("public, max-age={YEAR}");
    headers.insert(header::CACHE_CONTROL, HeaderValue::try_from(control).expect("digits are visible"));
    let expires = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(YEAR));
    headers.insert(header::EXPIRES, HeaderValue::try_from(expires).expect("a date is visible"));
}

/// Must not be kept, nor gathered by proxies before it is passed on.
pub(super) fn keep_nothing(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-cache, no-transform, must-revalidate, max-age=0"),
    );
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// The cookie as the client has it, or the first one: some load balancers put
/// their own mark into it.
pub(super) fn set_cookie(asked: &HeaderMap, response: &mut Response) {
    const NAME: &str = "JSESSIONID";
    let cookies = asked.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|list| list.split(';')).filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(name, _)| name.trim() == NAME).map_or("dummy", |(_, value)| value.trim());
    // It came as a header, so it can go as one.
    if let Ok(cookie) = HeaderValue::try_from(format!("{NAME}={value}; path=/")) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
