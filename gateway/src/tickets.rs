//! One-time tickets (PROTOCOL.md §3): for places that cannot set headers, so
//! that no token stands in a URL.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderValue, header};
use proto::wire::{self, Grant, reply, request};
use proto::{DeviceId, UserId};

use crate::credentials::Caller;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::identity::{Identity, Scopes};

/// Seconds that a ticket lives.
const LIFE: u64 = 30;

/// Requests go to a router by user, and whose a ticket is is not known yet.
static NOBODY: LazyLock<UserId> = LazyLock::new(|| UserId::parse("-").expect("a dash is a user id"));

/// `POST /v1/tickets`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/tickets", post(issue))
}

async fn issue(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Response, Failure> {
    let ticket = format!("{:032x}", rand::random::<u128>());
    let grant = grant(&stands_for(caller));
    let issue = wire::IssueTicket { ticket: ticket.clone(), grant: Some(grant) };
    gateway.routers.call(&NOBODY, request::Command::IssueTicket(issue)).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, format!(r#"{{"ticket":"{ticket}","expires_in":{LIFE}}}"#)).into_response())
}

/// What a ticket says of its holder: what the token says; where a backend acts
/// for a user, that user and nothing more, for the ticket goes to the user.
fn stands_for(caller: Caller) -> Identity {
    if caller.acting {
        Identity { user: caller.user, device: None, scopes: Scopes::default(), ..caller.identity }
    } else {
        caller.identity
    }
}

/// Who the holder of this ticket is; works once.
pub async fn redeem(gateway: &Gateway, ticket: &str) -> Result<Identity, Failure> {
    const REFUSED: &str = "the ticket has been used, is older than 30 seconds, or never was";
    if ticket.len() != 32 || !ticket.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Failure::unauthorized(REFUSED));
    }
    let redeem = wire::RedeemTicket { ticket: ticket.to_owned() };
    let reply = gateway.routers.call(&NOBODY, request::Command::RedeemTicket(redeem)).await?;
    let reply::Result::Redeemed(redeemed) = reply else {
        return Err(Failure::internal("the router gave an answer of the wrong kind"));
    };
    let grant = redeemed.grant.ok_or_else(|| Failure::unauthorized(REFUSED))?;
    identity(&grant).ok_or_else(|| Failure::internal("a ticket stands for what cannot be read"))
}

fn grant(identity: &Identity) -> Grant {
    let Scopes { service, publish } = identity.scopes;
    let scopes = [(service, "service"), (publish, "publish")];
    Grant {
        user: identity.user.to_string(),
        device: identity.device.as_ref().map(ToString::to_string).unwrap_or_default(),
        scopes: scopes.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.to_owned()).collect(),
        expires: identity.expires,
    }
}

fn identity(grant: &Grant) -> Option<Identity> {
    let device = match grant.device.as_str() {
        "" => None,
        device => Some(DeviceId::parse(device).ok()?),
    };
    Some(Identity {
        user: UserId::parse(&grant.user).ok()?,
        device,
        scopes: Scopes::parse(&grant.scopes.join(" ")),
        expires: grant.expires,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_a_backend_gets_for_a_user_is_only_the_users() {
        let backend = Identity {
            user: UserId::parse("backend").unwrap(),
            device: Some(DeviceId::parse("d1").unwrap()),
            scopes: Scopes { service: true, publish: true },
            expires: 7,
        };
        let caller = |user: &str| Caller {
            user: UserId::parse(user).unwrap(),
            device: DeviceId::random(),
            acting: user != "backend",
            identity: backend.clone(),
        };
        let users = stands_for(caller("alice"));
        assert_eq!((users.user.as_str(), users.device, users.expires), ("alice", None, 7));
        assert_eq!(users.scopes, Scopes::default());
        assert_eq!(stands_for(caller("backend")), backend);
    }

    #[test]
    fn a_ticket_stands_for_all_that_the_token_said() {
        let said = Identity {
            user: UserId::parse("alice").unwrap(),
            device: Some(DeviceId::parse("d1").unwrap()),
            scopes: Scopes { service: true, publish: true },
            expires: 1_790_000_000,
        };
        assert_eq!(identity(&grant(&said)), Some(said));
    }
}
