//! Why a command was not done, as clients see it: the `error` frame's fields
//! and the HTTP answer (PROTOCOL.md §4).

use std::fmt::Write as _;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use proto::{ErrorCode, FormError, wire};

use crate::protocol::json::member;

/// A refused command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Failure {
    /// What a program looks at.
    pub code: ErrorCode,
    /// What a person reads.
    pub message: String,
    /// Milliseconds, where waiting helps.
    pub retry_after_ms: Option<u64>,
}

/// A constructor for each code that the gateway itself answers with.
macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $code:ident),* $(,)?) => {
        $($(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self { code: ErrorCode::$code, message: message.into(), retry_after_ms: None }
        })*
    };
}

impl Failure {
    /// `"code":…,"message":…` and how long to wait.
    pub fn write_members(&self, out: &mut String) {
        let _ = write!(out, r#""code":"{}""#, self.code.as_str());
        member(out, "message", &self.message);
        if let Some(milliseconds) = self.retry_after_ms {
            let _ = write!(out, r#","retry_after_ms":{milliseconds}"#);
        }
    }

    constructors! {
        /// 400: not of the right form, or beyond a limit.
        bad_request = BadRequest,
        /// 403: known, but not allowed.
        forbidden = Forbidden,
        /// There is no such thing, or the user may not know of it (404).
        not_found = NotFound,
        /// 409: does not go together with what is there.
        conflict = Conflict,
        /// 413: larger than a limit.
        too_large = TooLarge,
        /// 500: a fault of ours.
        internal = Internal,
    }

    /// A field of the wrong form: "`to` must be …".
    pub fn field(name: &str, rule: &FormError) -> Self {
        Self::bad_request(format!("`{name}` {rule}"))
    }

    /// 429: too fast.
    pub fn rate_limited(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { code: ErrorCode::RateLimited, message: message.into(), retry_after_ms: Some(retry_after_ms) }
    }

    /// 503: nothing was acknowledged; safe to send again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::Unavailable, message: message.into(), retry_after_ms: Some(1_000) }
    }
}

impl From<wire::Failure> for Failure {
    fn from(failure: wire::Failure) -> Self {
        Self {
            code: ErrorCode::from_text(&failure.code),
            message: failure.message,
            retry_after_ms: (failure.retry_after_ms > 0).then_some(failure.retry_after_ms),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).expect("the codes' statuses are valid");
        let mut body = String::from("{");
        self.write_members(&mut body);
        body.push('}');
        let mut response =
            (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
                .into_response();
        if let Some(milliseconds) = self.retry_after_ms {
            // Whole seconds (RFC 9110 §10.2.3), never too early.
            let seconds = HeaderValue::from(milliseconds.div_ceil(1_000).max(1));
            response.headers_mut().insert(HeaderName::from_static("retry-after"), seconds);
        }
        response
    }
}
