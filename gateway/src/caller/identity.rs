//! The identity that a credential proves, and the caller of a request.

use std::sync::atomic::{AtomicU8, Ordering};

use proto::{DeviceId, TokenEnd, UserId};

use crate::caller::rates::Payer;
use crate::protocol::scopes::Scopes;

/// The identity that a verified token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`.
    pub user: UserId,
    /// The token's `device`, if it is bound to one.
    pub device: Option<DeviceId>,
    /// What the token allows beyond acting as its user.
    pub scopes: Scopes,
    /// The token's `exp`.
    pub token_end: TokenEnd,
}

/// The caller of a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The identity of the credential.
    pub identity: Identity,
    /// The user for whom the caller acts: the credential's user, or the one
    /// that a backend names.
    pub user: UserId,
    /// The credential's device (unless it acts for another user), else the
    /// query's, else a random one.
    pub device: DeviceId,
    /// Whether the user is another one than the credential's.
    pub acting: bool,
    /// Whether the credential is a one-time ticket.
    pub by_ticket: bool,
}

impl Caller {
    /// The payer: whose limit a request counts for.
    pub fn payer(&self) -> Payer<'_> {
        Payer { user: &self.identity.user, service: self.identity.scopes.service }
    }
}

/// The scopes of a live connection: those of its newest token.
#[derive(Debug)]
pub struct LiveScopes(AtomicU8);

impl LiveScopes {
    const SERVICE: u8 = 1;
    const PUBLISH: u8 = 2;

    /// The scopes of the first token.
    pub fn new(scopes: Scopes) -> Self {
        Self(AtomicU8::new(Self::bits(scopes)))
    }

    /// The scopes of the newest token.
    pub fn get(&self) -> Scopes {
        let bits = self.0.load(Ordering::Relaxed);
        Scopes { service: bits & Self::SERVICE != 0, publish: bits & Self::PUBLISH != 0 }
    }

    /// Sets the scopes of a new token.
    pub fn set(&self, scopes: Scopes) {
        self.0.store(Self::bits(scopes), Ordering::Relaxed);
    }

    fn bits(Scopes { service, publish }: Scopes) -> u8 {
        u8::from(service) * Self::SERVICE + u8::from(publish) * Self::PUBLISH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scopes_of_a_connection_are_those_of_its_newest_token() {
        let live = LiveScopes::new(Scopes::parse("service publish"));
        for text in ["publish", "service", "service publish", ""] {
            live.set(Scopes::parse(text));
            assert_eq!(live.get(), Scopes::parse(text));
        }
    }
}
