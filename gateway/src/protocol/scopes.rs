//! What a token allows beyond acting as its user (PROTOCOL.md §3).

/// The scopes that are known; others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes {
    /// A backend: may act for any user by naming it, publish, kick, and revoke tokens.
    pub service: bool,
    /// May publish to channels.
    pub publish: bool,
}

impl Scopes {
    /// Those that are known.
    pub const NAMES: [&str; 2] = ["service", "publish"];

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
