//! Requests of clients that are not here. The one place that decides about them.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};

use super::refusal::Refusal;

/// Answers a request for a client that this node does not have: one that is no
/// more, or that is on the node which its id names, if it is one of ours.
pub(super) async fn answer(_request: Request, _node: Option<&str>) -> Response {
    Refusal::Id.into_response()
}
