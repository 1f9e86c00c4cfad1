//! Finds out who makes a request, and counts the request.

use axum::extract::MatchedPath;
use http::request::Parts;

use super::believed::Believed;
use super::identity::Caller;
use super::rates::RateLimits;
use crate::link::NodeContext;
use crate::protocol::failure::Failure;
use crate::protocol::query::Query;
use proto::Class;

/// Who may come in, and how much each may do.
pub struct Callers {
    /// The node and its routers.
    pub(super) context: NodeContext,
    /// Whose tokens are believed.
    pub(crate) believed: Believed,
    /// Counts what users do.
    pub(crate) rates: RateLimits,
    /// The class that a path counts for where it is known only there.
    class_of: fn(&str) -> Option<Class>,
}

impl Callers {
    /// Accepts the tokens that are `believed`. `class_of` returns the class of
    /// limit of a route that is no command; other routes count as an attach.
    pub fn new(
        context: NodeContext,
        believed: Believed,
        rates: RateLimits,
        class_of: fn(&str) -> Option<Class>,
    ) -> Self {
        Self { context, believed, rates, class_of }
    }

    /// The caller of this request, which is counted. Fails with 401 or 403 as
    /// [`Callers::caller`] does, and with 429 beyond the limit.
    pub(crate) async fn enter(&self, parts: &Parts) -> Result<Caller, Failure> {
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let caller = self.caller(&parts.headers, &parts.extensions, &query).await?;
        // A resource that is a command is counted when its command is known;
        // all others are counted here.
        let class = parts.extensions.get::<MatchedPath>().and_then(|path| (self.class_of)(path.as_str()));
        self.rates.enter(caller.payer(), class.unwrap_or(Class::Attach), 1).await?;
        Ok(caller)
    }
}
