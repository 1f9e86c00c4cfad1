//! The identity that a credential proves, and the caller of a request.

use std::sync::Arc;

use daemon::lock::{LEAF, Lock};
use proto::{DeviceId, UserId};

use crate::caller::rates::Payer;
use crate::protocol::command::Command;
use crate::protocol::failure::Failure;
use crate::protocol::permissions::Permissions;
use crate::protocol::scopes::Scopes;
use crate::session::Proof;

/// The identity that a verified token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`.
    pub user: UserId,
    /// The token's `device`, if it is bound to one.
    pub device: Option<DeviceId>,
    /// What the token allows.
    pub permissions: Permissions,
    /// The token itself, as it is remembered.
    pub proof: Arc<Proof>,
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
        Payer { user: &self.identity.user, service: self.identity.permissions.scopes.service }
    }
}

/// What a live connection may do: what its newest token allows.
#[derive(Debug)]
pub struct LivePermissions(Lock<LEAF, Permissions>);

impl LivePermissions {
    /// What the first token allows.
    pub fn new(permissions: Permissions) -> Self {
        Self(Lock::new(permissions))
    }

    /// Fails with `forbidden` unless the newest token allows `user` the command.
    pub fn permit(&self, user: &UserId, command: &Command) -> Result<(), Failure> {
        self.0.lock().permit(user, command)
    }

    /// The scopes of the newest token.
    pub fn scopes(&self) -> Scopes {
        self.0.lock().scopes
    }

    /// Sets what a new token allows.
    pub fn set(&self, permissions: Permissions) {
        *self.0.lock() = permissions;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scopes_of_a_connection_are_those_of_its_newest_token() {
        let of = |text| Permissions { scopes: Scopes::parse(text), ..Permissions::default() };
        let live = LivePermissions::new(of("service publish"));
        for text in ["publish", "service", "service publish", ""] {
            live.set(of(text));
            assert_eq!(live.scopes(), Scopes::parse(text));
        }
    }
}
