//! Reads a request's headers and query: who makes the request, and for whom
//! (PROTOCOL.md §3).

use http::{Extensions, HeaderMap, HeaderName, header};
use proto::{DeviceId, UserId};

use crate::caller::auth::{Reason, refused};
use crate::caller::callers::Callers;
use crate::caller::identity::{Caller, Identity};
use crate::protocol::failure::Failure;
use crate::protocol::query::Query;

/// Names the user that a backend acts for.
pub const AS: HeaderName = HeaderName::from_static("switchboard-as");

impl Callers {
    /// The caller of this request. Fails with 401 when the credential is not
    /// valid, and with 403 when it does not allow acting for the user named.
    ///
    /// `extensions` are the request's: a ticket that was taken is noted there,
    /// and given back if the request is refused after all
    /// ([`Callers::give_back`]).
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        query: &Query<'_>,
    ) -> Result<Caller, Failure> {
        let by_ticket = !headers.contains_key(header::AUTHORIZATION) && query.get("ticket").is_some();
        let identity = self.identity(headers, extensions, query).await?;
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
        if !identity.permissions.scopes.service {
            return Err(Failure::forbidden("to act for a user the token needs the scope `service`"));
        }
        let user = UserId::parse(&text).map_err(|rule| Failure::field(name, &rule))?;
        let acting = user != identity.user;
        // The credential's device belongs to the credential's own user.
        let bound = identity.device.clone().filter(|_| !acting);
        let device = bound.or(asked).unwrap_or_else(DeviceId::random);
        Ok(Caller { acting, user, identity, device, by_ticket })
    }

    async fn identity(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        query: &Query<'_>,
    ) -> Result<Identity, Failure> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value.to_str().ok().and_then(bearer).ok_or_else(|| {
                refused(Reason::Malformed, "the Authorization header must be `Bearer` and a token")
            })?;
            return self.believed.verify(token).await;
        }
        if let Some(ticket) = query.get("ticket") {
            return self.redeem(ticket, extensions.get()).await;
        }
        match query.get("token") {
            Some(token) => self.believed.verify(token).await,
            None => Err(refused(
                Reason::Missing,
                "no credential: give `Authorization: Bearer TOKEN`, or `token` in the query",
            )),
        }
    }
}

/// The token of a `Bearer` credential; the scheme in any case (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
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
