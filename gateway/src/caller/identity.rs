//! Who a credential says that its holder is.

use std::sync::atomic::{AtomicU8, Ordering};

use proto::{DeviceId, UserId};

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
