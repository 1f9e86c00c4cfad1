//! The opening handshake: of RFC 6455 over HTTP/1.1, and of RFC 8441 over
//! HTTP/2. Version and key have been looked at by [`crate::strict`].

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::failure::Failure;

/// A request that asks for a WebSocket.
#[derive(Debug)]
pub(super) struct Asked {
    /// The bytes after the answer, once that has gone.
    pub(super) upgrade: OnUpgrade,
    /// Proves to the client that the answer is for its key. Over HTTP/2 there
    /// is none.
    accept: Option<HeaderValue>,
}

impl Asked {
    /// From the request, if it is one.
    pub(super) fn from(request: &mut Request) -> Result<Self, Failure> {
        let no_handshake = || Failure::bad_request("this path is for WebSocket handshakes");
        let asks = match request.version() {
            Version::HTTP_2 => {
                let protocol = request.extensions().get::<Protocol>();
                request.method() == Method::CONNECT
                    && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
            }
            _ => {
                request.method() == Method::GET
                    && has(request.headers(), &header::CONNECTION, "upgrade")
                    && has(request.headers(), &header::UPGRADE, "websocket")
            }
        };
        let upgrade =
            request.extensions_mut().remove::<OnUpgrade>().filter(|_| asks).ok_or_else(no_handshake)?;
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
        let accept = match (request.version(), key) {
            (Version::HTTP_2, _) => None,
            (_, Some(key)) => {
                let accept = derive_accept_key(key.as_bytes());
                Some(HeaderValue::from_str(&accept).map_err(|_| no_handshake())?)
            }
            (_, None) => return Err(no_handshake()),
        };
        Ok(Self { upgrade, accept })
    }

    /// The answer with which the WebSocket begins.
    pub(super) fn answer(accept: Option<HeaderValue>, subprotocol: Option<&'static str>) -> Response {
        let mut response = match accept {
            None => StatusCode::OK.into_response(),
            Some(accept) => {
                let upgrade = [
                    (header::CONNECTION, HeaderValue::from_static("upgrade")),
                    (header::UPGRADE, HeaderValue::from_static("websocket")),
                    (header::SEC_WEBSOCKET_ACCEPT, accept),
                ];
                (StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response()
            }
        };
        if let Some(subprotocol) = subprotocol {
            let value = HeaderValue::from_static(subprotocol);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        response
    }

    /// Takes it apart.
    pub(super) fn into_parts(self) -> (OnUpgrade, Option<HeaderValue>) {
        (self.upgrade, self.accept)
    }
}

/// Whether a header's list has this token.
fn has(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}
