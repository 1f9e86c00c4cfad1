//! Who a credential says that its holder is.

use std::sync::atomic::{AtomicU8, Ordering};

use proto::{DeviceId, UserId};

use crate::caller::rates::Payer;
use crate::protocol::scopes::Scopes;

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its `sub`.
    pub user: UserId,
    /// Its `device`, when it is bound to one.
    pub device: Option<DeviceId>,
    /// What it allows beyond acting as its user.
    pub scopes: Scopes,
    /// Its `exp`, in Unix seconds.
    pub expires: u64,
}

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

impl Caller {
    /// Whose limit a request counts for.
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

    /// Those of the first token.
    pub fn new(scopes: Scopes) -> Self {
        Self(AtomicU8::new(Self::bits(scopes)))
    }

    /// Those of the token that counts now.
    pub fn get(&self) -> Scopes {
        let bits = self.0.load(Ordering::Relaxed);
        Scopes { service: bits & Self::SERVICE != 0, publish: bits & Self::PUBLISH != 0 }
    }

    /// A new token has been given.
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
