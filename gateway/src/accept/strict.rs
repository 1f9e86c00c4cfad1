//! Checks requests where hyper is too lenient. A bad one is refused with 400
//! (426 for a WebSocket version) and our error JSON, and the connection ends.
//! Two readers of one request must never understand it differently.

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use hyper::ext::Protocol;

use crate::config::host;
use crate::protocol::failure::Failure;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.3).
    BothFramings,
    /// A `Transfer-Encoding` other than `chunked`, alone and once (RFC 9112 §6.1).
    Coding,
    /// `Content-Length` twice, even of one value.
    TwoLengths,
    /// A `Content-Length` that is no plain number.
    OddLength,
    /// A request whose body came in chunks with a size that is none, before this one
    /// on its connection.
    OddChunk,
    /// HTTP/1.1 without `Host` (RFC 9112 §3.2), or HTTP/2 without it and
    /// `:authority`.
    NoHost,
    /// The header `Host` stands twice.
    TwoHosts,
    /// A `Host` or `:authority` that is no host with perhaps a port (RFC 9110 §7.2).
    OddHost,
    /// `Host` and the host of the request's target differ (RFC 9113 §8.3.1).
    OtherHost,
    /// `Authorization` twice: it would not be clear whose request it is.
    TwoAuthorizations,
    /// `Origin` twice: it would not be clear which page it is from.
    TwoOrigins,
    /// `Content-Type` or `Last-Event-ID` twice.
    Twice,
    /// A `Sec-WebSocket-Key` that is not 16 bytes of base64, once (RFC 6455 §4.2.1).
    WebSocketKey,
    /// A `Sec-WebSocket-Version` other than 13 (RFC 6455 §4.2.2).
    WebSocketVersion,
}

/// What is wrong with this request, if anything is.
pub fn wrong<B>(request: &Request<B>) -> Option<Refusal> {
    let headers = request.headers();
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Some(Refusal::BothFramings);
    }
    if several(headers, CONTENT_LENGTH) {
        return Some(Refusal::TwoLengths);
    }
    if headers
        .get(TRANSFER_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || several(headers, TRANSFER_ENCODING)
    {
        return Some(Refusal::Coding);
    }
    if let wrong @ Some(_) = wrong_host(request) {
        return wrong;
    }
    if several(headers, AUTHORIZATION) {
        return Some(Refusal::TwoAuthorizations);
    }
    if several(headers, ORIGIN) {
        return Some(Refusal::TwoOrigins);
    }
    if several(headers, CONTENT_TYPE) || several(headers, LAST_EVENT_ID) {
        return Some(Refusal::Twice);
    }
    // Over HTTP/2 there is neither key nor need for one (RFC 8441 §5).
    if request.extensions().get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket") {
        return wrong_version(headers);
    }
    if asks_for_websocket(request) {
        return wrong_version(headers).or_else(|| wrong_key(headers));
    }
    None
}

fn wrong_host<B>(request: &Request<B>) -> Option<Refusal> {
    let headers = request.headers();
    if several(headers, HOST) {
        return Some(Refusal::TwoHosts);
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    // HTTP/1.0 had no `Host`.
    let needs_host = match request.version() {
        Version::HTTP_11 => host.is_none(),
        Version::HTTP_2 => host.is_none() && authority.is_none(),
        _ => false,
    };
    if needs_host {
        return Some(Refusal::NoHost);
    }
    if [host, authority].into_iter().flatten().any(|text| !host::is_host(text)) {
        return Some(Refusal::OddHost);
    }
    let differ = host.zip(authority).is_some_and(|(host, authority)| !host.eq_ignore_ascii_case(authority));
    differ.then_some(Refusal::OtherHost)
}

fn wrong_version(headers: &HeaderMap) -> Option<Refusal> {
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    let good = versions.next().map(HeaderValue::as_bytes) == Some(b"13") && versions.next().is_none();
    (!good).then_some(Refusal::WebSocketVersion)
}

fn wrong_key(headers: &HeaderMap) -> Option<Refusal> {
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| STANDARD.decode(key).ok());
    let good = key.is_some_and(|key| key.len() == 16) && !several(headers, SEC_WEBSOCKET_KEY);
    (!good).then_some(Refusal::WebSocketKey)
}

/// Whether one of a header's lists contains this word.
pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// Whether an HTTP/1.1 request asks for a WebSocket (RFC 6455 §4.2.1). Whoever
/// takes it for one asks here, so that its key and version have been looked at.
pub(crate) fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let upgrades = || headers.get_all(UPGRADE).iter();
    request.version() <= Version::HTTP_11
        && request.method() == Method::GET
        && lists(headers, &CONNECTION, "upgrade")
        && upgrades().any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn several(headers: &HeaderMap, name: HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Self::BothFramings => "a request has either Content-Length or Transfer-Encoding, not both",
            Self::Coding => "the only Transfer-Encoding is chunked, and alone",
            Self::TwoLengths => "a request has one Content-Length",
            Self::OddLength => "Content-Length must be a plain number",
            Self::OddChunk => "a chunk's size has 1 to 16 hexadecimal digits",
            Self::NoHost => "a request has a Host, or over HTTP/2 an :authority",
            Self::OddHost => "a Host is a name or an address, and perhaps a port",
            Self::TwoHosts => "a request has one Host",
            Self::OtherHost => "a request's Host is the host of its target",
            Self::TwoAuthorizations => "a request has one Authorization",
            Self::TwoOrigins => "a request has one Origin",
            Self::Twice => "a request has one Content-Type, and one Last-Event-ID",
            Self::WebSocketKey => "Sec-WebSocket-Key must be 16 bytes in base64",
            Self::WebSocketVersion => "Sec-WebSocket-Version must be 13",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Failure::bad_request(self.text()).into_response();
        if self == Self::WebSocketVersion {
            *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}
