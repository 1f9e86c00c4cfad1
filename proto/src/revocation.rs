//! Revocations: tokens that are not believed any more, although they have not ended
//! (PROTOCOL.md §3).

use crate::wire;
use crate::{FormError, Time, TokenId, UserId};

/// Which tokens a revocation is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RevokedTokens {
    /// Those of a user.
    Of(UserId),
    /// The one with this id.
    One(TokenId),
}

/// Tokens that are not believed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// A user's, or one.
    pub tokens: RevokedTokens,
    /// Of a user's tokens those that were issued up to this moment, and those that
    /// do not say when. 0 where it is about one token.
    pub before: Time,
    /// The last of these tokens has ended by then: the revocation is forgotten.
    pub until: Time,
}

impl TryFrom<wire::Revocation> for Revocation {
    /// The field that has the wrong form, and its rule.
    type Error = (&'static str, FormError);

    fn try_from(wire: wire::Revocation) -> Result<Self, Self::Error> {
        let wire::Revocation { user, jti, before, until } = wire;
        let tokens = if user.is_empty() {
            RevokedTokens::One(TokenId::parse(&jti).map_err(|rule| ("jti", rule))?)
        } else {
            RevokedTokens::Of(UserId::parse(&user).map_err(|rule| ("user", rule))?)
        };
        Ok(Self { tokens, before: Time(before), until: Time(until) })
    }
}

impl From<&Revocation> for wire::Revocation {
    fn from(revocation: &Revocation) -> Self {
        let Revocation { tokens, before, until } = revocation;
        let (user, jti) = match tokens {
            RevokedTokens::Of(user) => (user.to_string(), String::new()),
            RevokedTokens::One(id) => (String::new(), id.to_string()),
        };
        Self { user, jti, before: before.0, until: until.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_comes_back_from_its_message() {
        for tokens in [
            RevokedTokens::Of(UserId::parse("alice").unwrap()),
            RevokedTokens::One(TokenId::parse("5f1c: a \u{e9}").unwrap()),
        ] {
            let said = Revocation { tokens, before: Time(7), until: Time(9) };
            assert_eq!(Revocation::try_from(wire::Revocation::from(&said)), Ok(said));
        }
        let nothing = wire::Revocation::default();
        assert_eq!(Revocation::try_from(nothing).unwrap_err().0, "jti");
        let user = wire::Revocation { user: "a b".to_owned(), ..wire::Revocation::default() };
        assert_eq!(Revocation::try_from(user).unwrap_err().0, "user");
    }
}
