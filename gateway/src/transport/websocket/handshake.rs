//! The opening handshake: of RFC 6455 over HTTP/1.1, and of RFC 8441 over
//! HTTP/2. [`crate::accept::strict`] has checked version and key already.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use hyper::ext::Protocol;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::accept::{Upgrade, strict};
use crate::protocol::failure::Failure;

/// Usually a proxy is wrong, not the client.
const NO_HANDSHAKE: &str = "this path is for WebSocket handshakes, and the request is none: it needs \
     `Upgrade: websocket` and `Connection: Upgrade` (over HTTP/2 the method CONNECT with the protocol \
     `websocket`). If the client has sent them, a proxy in front of this server drops them: it must be told to \
     pass WebSocket upgrades on";

/// Takes from a request the stream that follows the response, and the
/// `Sec-WebSocket-Accept` that proves that the response is for the client's
/// key. Over HTTP/2 there is no key.
pub(in crate::transport) fn accept(request: &mut Request) -> Result<(Upgrade, Option<HeaderValue>), Failure> {
    let no_handshake = || Failure::bad_request(NO_HANDSHAKE);
    if !asks(request) {
        return Err(no_handshake());
    }
    let upgrade = Upgrade::take(request.extensions_mut()).ok_or_else(no_handshake)?;
    if request.version() == Version::HTTP_2 {
        return Ok((upgrade, None));
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).ok_or_else(no_handshake)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| no_handshake())?;
    Ok((upgrade, Some(accept)))
}

fn asks(request: &Request) -> bool {
    if request.version() == Version::HTTP_2 {
        let protocol = request.extensions().get::<Protocol>();
        return request.method() == Method::CONNECT
            && protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    }
    strict::asks_for_websocket(request)
}

/// The response that begins the WebSocket.
pub(in crate::transport) fn answer(
    accept: Option<HeaderValue>,
    subprotocol: Option<&'static str>,
) -> Response {
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

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn what_is_not_looked_at_as_a_handshake_is_none() {
        let request = |upgrade: &str, connection: &str| {
            let request = Request::get("/v1/ws").header("upgrade", upgrade).header("connection", connection);
            request.body(Body::empty()).unwrap()
        };
        assert!(asks(&request("WebSocket", "keep-alive, Upgrade")));
        for other in [request("websocket, other", "upgrade"), request("websocket", "keep-alive")] {
            assert!(!asks(&other), "{other:?}");
        }
    }
}
