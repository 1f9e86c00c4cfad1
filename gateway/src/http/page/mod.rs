//! `GET /`: a page to chat on, with its style and script; and the JavaScript
//! client for other pages. The page can do what any client can do.
//!
//! The page's text and style are here. The two scripts are built from
//! `clients/javascript` and committed, so that building a gateway needs no
//! Node; a test in `clients/javascript` compares them with their source.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderName, HeaderValue, header};

use crate::gateway::Gateway;

/// The Content-Security-Policy: nothing from other origins, nothing inline, not
/// in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, content type and text of each file.
const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("/switchboard.min.js", "text/javascript; charset=utf-8", include_str!("switchboard.min.js")),
];

/// A route for each file; none needs a credential.
pub fn routes() -> Router<Arc<Gateway>> {
    FILES.into_iter().fold(Router::new(), |routes, (path, kind, text)| {
        routes.route(path, get(async move || file(kind, text)))
    })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}
