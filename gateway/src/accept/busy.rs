//! The response to an EventSource when there is no session for it now. Browsers
//! stop for ever after any status but 200 (WHATWG HTML §9.2.3). So it gets an
//! event stream that only says when to reconnect, and ends. It has no event:
//! one named `error` would look like a broken connection to the page.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

/// `Content-Type` of server-sent events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// The time until the reconnect, if the refusal does not say one.
const PAUSE: Duration = Duration::from_secs(1);
/// Clients that were refused together are spread over this time.
const SPREAD: Duration = Duration::from_secs(4);

/// Turns a refusal of `GET /v1/sse` into such a stream. A refusal that will not
/// pass by itself (400, 401, 403) stays as it is.
pub(crate) async fn soften(answer: Response) -> Response {
    if !matches!(answer.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        return answer;
    }
    let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|text| text.to_str().ok()?.parse().ok());
    let pause = seconds.map_or(PAUSE, Duration::from_secs);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, come_back_after(pause)).into_response()
}

/// The stream's text: a comment for people, and `retry` with the time. It ends
/// no block, because some parsers make an event of a block without data;
/// `retry` counts at the end of its line.
pub(crate) fn come_back_after(pause: Duration) -> String {
    let spread = rand::random_range(Duration::ZERO..SPREAD);
    format!(": no session at the moment\nretry: {}\n", (pause + spread).as_millis())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::caller::auth::{Reason, refused};
    use crate::protocol::failure::Failure;

    #[tokio::test]
    async fn a_refusal_for_a_moment_says_when_to_come_back() {
        for (failure, least) in
            [(Failure::unavailable("no router"), 1_000), (Failure::rate_limited("too fast", 7_001), 8_000)]
        {
            let answer = soften(failure.into_response()).await;
            assert!(answer.status() == StatusCode::OK && answer.headers()["content-type"] == EVENT_STREAM);
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            let text = std::str::from_utf8(&text).unwrap();
            let retry = text.strip_prefix(": no session at the moment\nretry: ").unwrap().trim_end();
            let retry: u64 = retry.parse().unwrap();
            assert!((least..least + 4_000).contains(&retry), "{retry}");
        }
    }

    #[tokio::test]
    async fn any_other_answer_stays() {
        for failure in [refused(Reason::Missing, ""), Failure::bad_request(""), Failure::internal("")] {
            let status = failure.code.status();
            assert_eq!(soften(failure.into_response()).await.status().as_u16(), status);
        }
    }
}
