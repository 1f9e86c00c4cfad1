//! One-time tickets (PROTOCOL.md §3): for clients that cannot set headers, so
//! that no token is in a URL. A ticket ends with the token that bought it, and
//! is used up by a request that is not refused.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::wire::{self, Grant, reply, request};
use proto::{DeviceId, Names, Time, TokenEnd, TokenId, UserId};

use crate::caller::auth::{Reason, refused};
use crate::caller::callers::Callers;
use crate::caller::identity::{Caller, Identity};
use crate::link::{NOBODY, Routers};
use crate::protocol::failure::Failure;
use crate::protocol::permissions::Permissions;
use crate::protocol::scopes::Scopes;
use crate::session::{Proof, expiry};

/// How long a ticket is valid, at most until its token's `exp`.
const LIFE: Duration = Duration::from_secs(30);

/// The identity that a ticket proves: that of the token. If a backend acts for
/// a user, it is that user with what every token allows, since the user gets the
/// ticket.
fn stands_for(caller: Caller, everybody: &Permissions) -> Identity {
    if caller.acting {
        let bought = Some((caller.user.clone(), Time::now()));
        let proof = Proof { bought, ..(*caller.identity.proof).clone() }.into();
        Identity { user: caller.user, device: None, permissions: everybody.clone(), proof }
    } else {
        caller.identity
    }
}

/// The ticket that a request has taken, until it is known whether the request
/// is refused.
#[derive(Debug, Clone, Default)]
pub struct TakenTicket(Arc<Lock<LEAF, Option<wire::ReturnTicket>>>);

impl Callers {
    /// Issues a ticket for the user for whom the caller acts; returns it with
    /// its life in whole seconds. Fails for a caller who came with a ticket,
    /// with an expired token, and when no router answers.
    pub(crate) async fn issue(&self, caller: Caller) -> Result<(String, u64), Failure> {
        if caller.by_ticket {
            return Err(Failure::forbidden("a ticket cannot buy another: it takes the token itself"));
        }
        // Without the leeway of tokens, since a ticket is used at once.
        let life = caller.identity.proof.end.left().min(LIFE);
        if life.is_zero() {
            return Err(refused(Reason::Expired, "the token has expired"));
        }
        let ticket = format!("{:032x}", rand::random::<u128>());
        let issue = wire::IssueTicket {
            ticket: ticket.clone(),
            grant: Some(grant(&stands_for(caller, self.believed.auth.everybody()))),
            life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1),
        };
        self.context.routers.call(&NOBODY, request::Command::IssueTicket(issue)).await?;
        Ok((ticket, life.as_secs()))
    }

    /// The identity of this ticket, which nobody else can take from now on.
    /// With `taken` it is noted there, so that it is given back if the request
    /// is refused. Fails with `unauthorized`, or when no router answers.
    pub(super) async fn redeem(
        &self,
        ticket: &str,
        taken: Option<&TakenTicket>,
    ) -> Result<Identity, Failure> {
        let no_such = || {
            refused(
                Reason::Ticket,
                "the ticket has been used, is over (30 seconds, or its token's end), or never was",
            )
        };
        if ticket.len() != 32 || !ticket.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(no_such());
        }
        let (ticket, by) = (ticket.to_owned(), format!("{:032x}", rand::random::<u128>()));
        let back = wire::ReturnTicket { ticket: ticket.clone(), by: by.clone() };
        let redeem = wire::RedeemTicket { ticket, by };
        let reply = match self.context.routers.call(&NOBODY, request::Command::RedeemTicket(redeem)).await {
            Ok(reply) => reply,
            Err(failure) => {
                // The ticket may have been taken although the answer was lost:
                // give it back, without waiting for that.
                let routers = self.context.routers.clone();
                self.context.tracker.spawn(async move { give(&routers, back).await });
                return Err(failure);
            }
        };
        let reply::Result::Redeemed(redeemed) = reply else {
            return Err(Failure::internal("the router gave an answer of the wrong kind"));
        };
        let grant = redeemed.grant.ok_or_else(no_such)?;
        if let Some(taken) = taken {
            *taken.0.lock() = Some(back);
        }
        let identity =
            identity(&grant).ok_or_else(|| Failure::internal("a ticket stands for what cannot be read"))?;
        if expiry::is_over(identity.proof.end) {
            return Err(refused(Reason::Expired, "the token that the ticket was bought with has expired"));
        }
        self.believed.believe(&identity.proof).await?;
        Ok(identity)
    }

    /// Lets the ticket that a request took be used again, since the request was
    /// refused.
    pub(crate) async fn give_back(&self, taken: &TakenTicket) {
        let back = taken.0.lock().take();
        if let Some(back) = back {
            give(&self.context.routers, back).await;
        }
    }
}

async fn give(routers: &Routers, back: wire::ReturnTicket) {
    if let Err(error) = routers.call(&NOBODY, request::Command::ReturnTicket(back)).await {
        tracing::debug!(%error, "a ticket could not be given back");
    }
}

fn grant(identity: &Identity) -> Grant {
    let Permissions { scopes: Scopes { service, publish }, subscribe, presence } = &identity.permissions;
    let Proof { end, holder, issued, jti, bought } = &*identity.proof;
    let scopes = [(service, "service"), (publish, "publish")];
    Grant {
        user: identity.user.to_string(),
        device: identity.device.as_ref().map(ToString::to_string).unwrap_or_default(),
        scopes: scopes.into_iter().filter(|(has, _)| **has).map(|(_, name)| name.to_owned()).collect(),
        expires: end.0,
        subscribe: subscribe.texts(),
        presence: presence.texts(),
        holder: holder.to_string(),
        issued: issued.0,
        jti: jti.as_ref().map(ToString::to_string).unwrap_or_default(),
        bought: bought.as_ref().map_or(0, |(_, when)| when.0),
    }
}

fn identity(grant: &Grant) -> Option<Identity> {
    let device = match grant.device.as_str() {
        "" => None,
        device => Some(DeviceId::parse(device).ok()?),
    };
    let user = UserId::parse(&grant.user).ok()?;
    let jti = match grant.jti.as_str() {
        "" => None,
        id => Some(TokenId::parse(id).ok()?),
    };
    let proof = Proof {
        issued: Time(grant.issued),
        jti,
        bought: (grant.bought > 0).then(|| (user.clone(), Time(grant.bought))),
        ..Proof::of(UserId::parse(&grant.holder).ok()?, TokenEnd(grant.expires))
    };
    Some(Identity {
        user,
        device,
        permissions: Permissions {
            scopes: Scopes::parse(&grant.scopes.join(" ")),
            subscribe: Names::parse(grant.subscribe.iter().map(String::as_str)).ok()?,
            presence: Names::parse(grant.presence.iter().map(String::as_str)).ok()?,
        },
        proof: proof.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Permissions {
        Permissions {
            scopes: Scopes { service: true, publish: true },
            subscribe: Names::parse(["c_news", "c_team.*"]).unwrap(),
            presence: Names::of([]),
        }
    }

    #[test]
    fn a_ticket_that_a_backend_gets_for_a_user_is_only_the_users() {
        let backend = Identity {
            user: UserId::parse("backend").unwrap(),
            device: Some(DeviceId::parse("d1").unwrap()),
            permissions: everything(),
            proof: Proof::of(UserId::parse("backend").unwrap(), TokenEnd(7)).into(),
        };
        let caller = |user: &str| Caller {
            user: UserId::parse(user).unwrap(),
            device: DeviceId::random(),
            acting: user != "backend",
            by_ticket: false,
            identity: backend.clone(),
        };
        let everybody =
            Permissions { subscribe: Names::parse(["c_public.*"]).unwrap(), ..Permissions::default() };
        let users = stands_for(caller("alice"), &everybody);
        assert_eq!((users.user.as_str(), users.device, users.proof.end), ("alice", None, TokenEnd(7)));
        let bought = users.proof.bought.as_ref().map(|(user, _)| user.as_str());
        assert_eq!((users.proof.holder.as_str(), bought), ("backend", Some("alice")));
        assert_eq!(users.permissions, everybody);
        assert_eq!(stands_for(caller("backend"), &everybody), backend);
    }

    #[test]
    fn a_ticket_stands_for_all_that_the_token_said() {
        let said = Identity {
            user: UserId::parse("alice").unwrap(),
            device: Some(DeviceId::parse("d1").unwrap()),
            permissions: everything(),
            proof: Proof {
                issued: Time(1_789_000_000_500),
                jti: Some(TokenId::parse("t-1").unwrap()),
                ..Proof::of(UserId::parse("alice").unwrap(), TokenEnd(1_790_000_000))
            }
            .into(),
        };
        assert_eq!(identity(&grant(&said)), Some(said.clone()));
        let bought = Some((said.user.clone(), Time(1_789_000_000_700)));
        let holder = UserId::parse("backend").unwrap();
        let proof = Proof { bought, holder, jti: None, ..(*said.proof).clone() }.into();
        let said = Identity { proof, ..said };
        assert_eq!(identity(&grant(&said)), Some(said));
    }
}
