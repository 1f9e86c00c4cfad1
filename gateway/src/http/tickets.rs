//! `POST /v1/tickets`, and the layer that makes a ticket usable again when the
//! request that took it is refused.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderValue, header};

use crate::accept::long_response;
use crate::caller::identity::Caller;
use crate::caller::tickets::TakenTicket;
use crate::gateway::Gateway;
use crate::protocol::failure::Failure;

/// `POST /v1/tickets`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/tickets", post(issue))
}

async fn issue(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Response, Failure> {
    let (ticket, seconds) = gateway.callers.issue(caller).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, format!(r#"{{"ticket":"{ticket}","expires_in":{seconds}}}"#)).into_response())
}

/// Around every route: a request that is refused, for whatever reason, does not
/// use up its ticket. The ticket is given back before the refusal is sent, so
/// that the next request can use it.
pub async fn give_back(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    if !request.uri().query().is_some_and(|query| query.contains("ticket=")) {
        return next.run(request).await;
    }
    let taken = TakenTicket::default();
    request.extensions_mut().insert(taken.clone());
    let response = next.run(request).await;
    long_response::then(response, async move |response| {
        if is_refusal(&response) {
            gateway.callers.give_back(&taken).await;
        }
        response
    })
    .await
}

/// Whether the response is a refusal. An EventSource stops for ever at an
/// error, so it may be refused by a stream that ends at once.
fn is_refusal(response: &Response) -> bool {
    let status = response.status();
    let stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|form| form == "text/event-stream");
    status.is_client_error() || status.is_server_error() || (stream && !long_response::lasts(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source of a stream in these tests.
    struct Open;

    impl long_response::Source for Open {
        fn is_over(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_stream_that_ends_at_once_is_a_refusal_and_one_that_lasts_is_none() {
        let stream = || ([(header::CONTENT_TYPE, "text/event-stream")], "retry: 1\n").into_response();
        assert!(is_refusal(&stream()) && !is_refusal(&long_response::endless(stream(), Arc::new(Open))));
        assert!(is_refusal(&Failure::not_found("").into_response()) && !is_refusal(&"{}".into_response()));
    }
}
