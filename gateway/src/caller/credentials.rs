//! From a request's headers and query to the caller: who it is, and whom it
//! acts for (PROTOCOL.md §3).

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, header};
use proto::{DeviceId, UserId};

use crate::caller::auth::{Reason, refused};
use crate::caller::identity::Identity;
use crate::caller::rates::Payer;
use crate::caller::tickets;
use crate::gateway::Gateway;
use crate::http::catalogue;
use crate::protocol::class::Class;
use crate::protocol::failure::Failure;
use crate::protocol::query::Query;

/// Names the user that a backend acts for.
pub const AS: HeaderName = HeaderName::from_static("switchboard-as");

/// Whoever makes a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What the credential says.
    pub identity: Identity,
    /// On whose behalf: the credential's user, or whom a backend names.
    pub user: UserId,
    /// The credential's (not where it acts for another user), else the
    /// query's, else one made up.
    pub device: DeviceId,
    /// Whether the user is another one than the credential's.
    pub acting: bool,
    /// Whether the credential is a one-time ticket.
    pub by_ticket: bool,
}

/// Who makes this request. Fails with 401 when the credential does not hold,
/// 403 when it does not allow to act for the user that is named.
///
/// `extensions` are the request's: a ticket that was taken is noted there, and
/// given back when the request is refused after all ([`tickets::give_back`]).
pub async fn caller(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    extensions: &Extensions,
    query: &Query<'_>,
) -> Result<Caller, Failure> {
    let by_ticket = !headers.contains_key(header::AUTHORIZATION) && query.get("ticket").is_some();
    let identity = identity(gateway, headers, extensions, query).await?;
    let asked = query.device()?;
    if headers.get_all(AS).iter().nth(1).is_some() {
        return Err(Failure::bad_request("`Switchboard-As` is given twice"));
    }
    let named = match headers.get(AS) {
        Some(value) => Some(("Switchboard-As", value.to_str().unwrap_or_default().to_owned())),
        None => query.get("as").map(|text| ("as", text.to_owned())),
    };
    let Some((name, text)) = named else {
        let device = identity.device.clone().or(asked).unwrap_or_else(DeviceId::random);
        return Ok(Caller { user: identity.user.clone(), identity, device, acting: false, by_ticket });
    };
    if !identity.scopes.service {
        return Err(Failure::forbidden("to act for a user the token needs the scope `service`"));
    }
    let user = UserId::parse(&text).map_err(|rule| Failure::field(name, &rule))?;
    let acting = user != identity.user;
    // The credential's device is one of its own user's.
    let bound = identity.device.clone().filter(|_| !acting);
    let device = bound.or(asked).unwrap_or_else(DeviceId::random);
    Ok(Caller { acting, user, identity, device, by_ticket })
}

async fn identity(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    extensions: &Extensions,
    query: &Query<'_>,
) -> Result<Identity, Failure> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).ok_or_else(|| {
            refused(Reason::Malformed, "the Authorization header must be `Bearer` and a token")
        })?;
        return gateway.auth.verify(token).await;
    }
    if let Some(ticket) = query.get("ticket") {
        return tickets::redeem(gateway, ticket, extensions.get()).await;
    }
    match query.get("token") {
        Some(token) => gateway.auth.verify(token).await,
        None => Err(refused(
            Reason::Missing,
            "no credential: give `Authorization: Bearer TOKEN`, or `token` in the query",
        )),
    }
}

/// The token of a `Bearer` credential; the scheme in any case (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Failure> {
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let caller = caller(gateway, &parts.headers, &parts.extensions, &query).await?;
        // Resources that are commands count when it is known which they are;
        // whatever else is served to a known caller counts here.
        let class = parts.extensions.get::<MatchedPath>().and_then(|path| catalogue::class_of(path.as_str()));
        gateway.rates.enter(caller.payer(), class.unwrap_or(Class::Attach), 1).await?;
        Ok(caller)
    }
}

impl Caller {
    /// Whose limit a request counts for.
    pub fn payer(&self) -> Payer<'_> {
        Payer { user: &self.identity.user, service: self.identity.scopes.service }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_credential_is_a_scheme_and_a_token() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        for text in ["Bearer", "Bearer ", "Basic abc", "abc", ""] {
            assert_eq!(bearer(text), None, "{text}");
        }
    }
}
