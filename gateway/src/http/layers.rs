//! What every request passes before its route: the cross-origin rules, one form
//! of error for unknown paths, and a span where traces are exported.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use daemon::trace::{self, KeyValue, Span};
use http::{HeaderMap, Method};

use crate::gateway::Gateway;
use crate::http::cors;
use crate::http::resources::{no_such_method, no_such_path};
use crate::http::tickets;

/// Puts the layers around all routes. `foreign` are those of other protocols, which
/// have their own rules for answers to other origins.
pub fn layers(routes: Router<Arc<Gateway>>, foreign: Router<Arc<Gateway>>, gateway: &Arc<Gateway>) -> Router {
    let inner = |routes: Router<Arc<Gateway>>| {
        let routes = routes.with_state(gateway.clone());
        let routes = routes.layer(middleware::from_fn_with_state(gateway.clone(), tickets::give_back));
        if trace::is_on() { routes.layer(middleware::from_fn(traced)) } else { routes }
    };
    let routes = routes.method_not_allowed_fallback(no_such_method).fallback(no_such_path);
    cors::protect(inner(routes), inner(foreign), &gateway.config.origins)
}

/// Gives a request a span, up to its response's head. It continues the trace of
/// its `traceparent`, or begins one. The span has neither the path nor the
/// query, which may contain a token.
async fn traced(request: Request, next: Next) -> Response {
    let span = span_of(request.headers(), request.method(), request.extensions().get::<MatchedPath>());
    let response = span.clone().hold(next.run(request)).await;
    if span.is_some() {
        let status = response.status();
        span.set("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.failed(if status.as_u16() == 503 { "503" } else { "500" });
        }
    }
    response
}

fn span_of(headers: &HeaderMap, method: &Method, route: Option<&MatchedPath>) -> Span {
    // Any other method could be anything (OpenTelemetry's conventions for
    // HTTP).
    let known = matches!(method.as_str(), "GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "CONNECT");
    let method = if known { method.as_str() } else { "_OTHER" };
    let route = route.map_or("", MatchedPath::as_str);
    Span::of_request(
        headers,
        || format!("{method} {route}").trim_end().to_owned(),
        || {
            let method = KeyValue::new("http.request.method", method.to_owned());
            let route = (!route.is_empty()).then(|| KeyValue::new("http.route", route.to_owned()));
            [Some(method), route].into_iter().flatten().collect()
        },
    )
}
