//! Which web pages may use this server: CORS for the HTTP transports, and a
//! guard for what CORS does not cover (PROTOCOL.md §6).

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::Origins;
use crate::config::host;
use crate::protocol::failure::Failure;

/// How long browsers may keep the response to a preflight; they keep it no
/// longer anyway.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 3_600);

/// Puts both around our own routes, and the guard alone around `foreign` ones,
/// whose CORS is their own. Ours allows no credentials, since cookies mean nothing
/// here.
pub fn protect(routes: axum::Router, foreign: axum::Router, origins: &Origins) -> axum::Router {
    let allow = if origins.any() {
        AllowOrigin::any()
    } else {
        let origins = origins.clone();
        AllowOrigin::predicate(move |origin, _| origin.to_str().is_ok_and(|origin| origins.allows(origin)))
    };
    let cors = CorsLayer::new()
        .allow_origin(allow)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        // `*` would not include Authorization.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE);
    let guarded = |routes: axum::Router| {
        if origins.any() {
            return routes;
        }
        routes.layer(middleware::from_fn_with_state(origins.clone(), guard))
    };
    guarded(routes).layer(cors).merge(guarded(foreign))
}

/// With CORS the browser keeps a response from a page, after the request was
/// served; and WebSockets have no CORS. So a request with an `Origin` that is
/// not allowed is refused before anything is done.
async fn guard(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    if !is_allowed(&origins, &request) {
        return Failure::forbidden("pages of this origin may not use this server").into_response();
    }
    next.run(request).await
}

/// Whether the origin is allowed. Programs send no `Origin`; the server's own
/// pages send one equal to the host. A host *name* proves nothing: a page of
/// any name may have been pointed to this server, so its origin must be in the
/// list.
fn is_allowed(origins: &Origins, request: &Request) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let origin = origin.to_str().unwrap_or_default();
    let own = origin.split_once("://").map(|(_, host)| host);
    let host = host::of(request.uri(), request.headers());
    origins.allows(origin) || (own.is_some() && own == host && host.is_some_and(host::cannot_be_rebound))
}
