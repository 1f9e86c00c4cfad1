//! Which web pages may use this server: CORS for the HTTP transports, and a
//! guard for what CORS does not cover (PROTOCOL.md §6).

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::Origins;
use crate::failure::Failure;

/// Browsers keep a preflight's answer no longer than this anyway.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 3_600);

/// Puts both around all routes. No credentials: cookies mean nothing here.
pub fn protect(routes: axum::Router, origins: &Origins) -> axum::Router {
    let allow = if origins.any() {
        AllowOrigin::any()
    } else {
        let origins = origins.clone();
        AllowOrigin::predicate(move |origin, _| origin.to_str().is_ok_and(|origin| origins.allows(origin)))
    };
    let cors = CorsLayer::new()
        .allow_origin(allow)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        // `*` would leave out Authorization.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE);
    let guarded = if origins.any() {
        routes
    } else {
        routes.layer(middleware::from_fn_with_state(origins.clone(), guard))
    };
    guarded.layer(cors)
}

/// WebSockets know no CORS: whoever is not allowed is refused by its `Origin`.
async fn guard(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    if opens_socket(&request) && !is_allowed(&origins, &request) {
        return Failure::forbidden("pages of this origin may not use this server").into_response();
    }
    next.run(request).await
}

fn opens_socket(request: &Request) -> bool {
    request.headers().contains_key(header::UPGRADE) || request.method() == Method::CONNECT
}

/// Programs send no `Origin`; the server's own pages one that is its host,
/// which HTTP/2 calls `:authority`.
fn is_allowed(origins: &Origins, request: &Request) -> bool {
    let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = request.uri().authority().map(http::uri::Authority::as_str).or_else(|| text(header::HOST));
    let own = origin.split_once("://").map(|(_, host)| host);
    origins.allows(origin) || (own.is_some() && own == host)
}
