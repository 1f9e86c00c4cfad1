//! What every request passes before its route: cross-origin rules, and one
//! form of error for what is not found.

use std::sync::Arc;

use axum::Router;

use crate::cors;
use crate::gateway::Gateway;
use crate::resources::{no_such_method, no_such_path};

/// Puts the layers around all routes.
pub fn layers(routes: Router<Arc<Gateway>>, gateway: &Arc<Gateway>) -> Router {
    let routes = routes.method_not_allowed_fallback(no_such_method).fallback(no_such_path);
    cors::protect(routes.with_state(gateway.clone()), &gateway.config.origins)
}
