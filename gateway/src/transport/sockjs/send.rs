//! Ways up: a POST with messages for a session.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::frame::{Broken, MAX_MESSAGES, messages};
use super::path::Send;
use super::session::Session;
use super::{Service, headers, refuse, text};
use crate::accept::body::{Ungathered, gather};

impl Service {
    /// Answers when the session has taken all of the messages: a client that sends
    /// faster than its messages are done waits.
    pub(super) async fn send(&self, way: Send, session: &Session, asked: &HeaderMap, body: Body) -> Response {
        let mut turn = session.turn().await;
        let most = self.options.max_body_bytes;
        let body = match gather(body, most, |bytes| turn.hold(bytes)).await {
            Ok(body) => body,
            Err(Ungathered::NoRoom(refusal)) => return refuse(refusal),
            Err(Ungathered::TooLarge) => {
                let wrong = format!("the request has more than {most} bytes");
                return text(StatusCode::PAYLOAD_TOO_LARGE, wrong);
            }
            Err(Ungathered::Late) => {
                return text(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time");
            }
            Err(Ungathered::Broken) => return text(StatusCode::BAD_REQUEST, "the request's body broke off"),
        };
        let read = match way {
            Send::Xhr => messages(&body),
            Send::Jsonp => payload(asked, &body).and_then(|payload| messages(&payload)),
        };
        let messages = match read {
            Ok(messages) => messages,
            Err(Broken::Empty) => return text(StatusCode::INTERNAL_SERVER_ERROR, "Payload expected."),
            Err(Broken::Json) => return text(StatusCode::INTERNAL_SERVER_ERROR, "Broken JSON encoding."),
            Err(Broken::TooMany) => {
                let wrong = format!("there are more than {MAX_MESSAGES} messages in one payload");
                return text(StatusCode::PAYLOAD_TOO_LARGE, wrong);
            }
        };
        // What it was read from is not needed while they wait.
        drop(body);
        turn.send(messages).await;
        match way {
            // The type keeps Firefox from reading it as XML.
            Send::Xhr => (StatusCode::NO_CONTENT, [(header::CONTENT_TYPE, headers::TEXT)]).into_response(),
            // Konqueror needs a body.
            Send::Jsonp => text(StatusCode::OK, "ok"),
        }
    }
}

/// The JSON of a form's field `d`, or of a body that is no form.
fn payload(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Broken> {
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = form.split(';').next().unwrap_or_default().trim();
    if !form.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(body.clone());
    }
    let field = url::form_urlencoded::parse(body).find(|(name, _)| name == "d");
    field.map(|(_, value)| value.into_owned().into()).ok_or(Broken::Empty)
}
