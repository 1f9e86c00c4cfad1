//! Who a credential says that its holder is.

use proto::{DeviceId, UserId};

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

/// The scopes that are known; others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes {
    /// A backend: may act for any user by naming it, publish, and kick.
    pub service: bool,
    /// May publish to channels.
    pub publish: bool,
}

impl Scopes {
    /// Reads a space-separated list (RFC 6749 §3.3).
    pub fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for word in text.split(' ') {
            match word {
                "service" => scopes.service = true,
                "publish" => scopes.publish = true,
                _ => {}
            }
        }
        scopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_scopes_are_found_and_others_ignored() {
        assert_eq!(Scopes::parse("admin service"), Scopes { service: true, publish: false });
        assert_eq!(Scopes::parse("publish"), Scopes { service: false, publish: true });
        assert_eq!(Scopes::parse("services Service"), Scopes::default());
    }
}
