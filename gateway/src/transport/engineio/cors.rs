//! Which pages may read answers: those that its clients need. A page that asks with
//! cookies (`withCredentials`, for a load balancer that wants one) is only given an
//! answer that names its origin and allows them; here cookies mean nothing.

use std::time::Duration;

use http::{HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// Browsers keep a preflight's answer no longer than this anyway.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 3_600);

/// The layer for [`super::routes`]; `allows` says which origins.
pub fn cors(allows: impl Fn(&str) -> bool + Clone + Send + Sync + 'static) -> CorsLayer {
    let allows = move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(&allows);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allows))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}
