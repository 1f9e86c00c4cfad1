//! The answers to requests that are refused: the numbers and texts of Engine.IO's own
//! server.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::transport::inside;

/// Why a request is refused. The number is `code` in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 0: the transport is neither `polling` nor `websocket`.
    Transport,
    /// 1: no client has this id, or its client has ended.
    Id,
    /// 2: a client must begin with GET.
    Method,
    /// 3: the request is against the protocol.
    Request,
    /// 3 with status 413: the request has more than `maxPayload` bytes.
    TooLarge,
    /// 4: the service inside refuses the client, or has no room.
    Inside(inside::Refusal),
    /// 5: the request does not have `EIO=4`.
    Version,
}

impl Refusal {
    fn code(&self) -> u8 {
        match self {
            Self::Transport => 0,
            Self::Id => 1,
            Self::Method => 2,
            Self::Request | Self::TooLarge => 3,
            Self::Inside(_) => 4,
            Self::Version => 5,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Transport => "Transport unknown",
            Self::Id => "Session ID unknown",
            Self::Method => "Bad handshake method",
            Self::Request => "Bad request",
            Self::TooLarge => "Payload too large",
            Self::Inside(refusal) => &refusal.message,
            Self::Version => "Unsupported protocol version",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Inside(refusal) => refusal.status,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = format!(r#"{{"code":{},"message":"#, self.code());
        crate::protocol::json::escape(&mut body, self.message());
        body.push('}');
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (self.status(), headers, body).into_response();
        if let Self::Inside(inside::Refusal { retry_after: Some(seconds), .. }) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_refusal_is_a_number_and_a_text() {
        let busy = inside::Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "no \"room\"".to_owned(),
            retry_after: Some(2),
        };
        for (refusal, status, body) in [
            (Refusal::Transport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (Refusal::Id, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (Refusal::Method, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
            (Refusal::Request, 400, r#"{"code":3,"message":"Bad request"}"#),
            (Refusal::Inside(busy), 503, r#"{"code":4,"message":"no \"room\""}"#),
            (Refusal::Version, 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ] {
            let response = refusal.into_response();
            assert_eq!(response.status().as_u16(), status);
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, body);
        }
    }
}
