//! What is remembered of the token behind a caller or a session: when it ends, and
//! what it is known by when tokens are revoked.

use proto::{Time, TokenEnd, TokenId, UserId};

/// The token that proved an identity. A ticket has that of the token that bought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The token's `exp`.
    pub end: TokenEnd,
    /// The token's `sub`.
    pub holder: UserId,
    /// The token's `iat`; 0 where it has none: it counts as issued before
    /// everything.
    pub issued: Time,
    /// The token's `jti`.
    pub jti: Option<TokenId>,
    /// The user for whom a backend bought a ticket with its own token, and when: it
    /// counts as a token of this user, too.
    pub bought: Option<(UserId, Time)>,
}

impl Proof {
    /// A token of this user that says nothing but its end.
    pub fn of(holder: UserId, end: TokenEnd) -> Self {
        Self { end, holder, issued: Time(0), jti: None, bought: None }
    }
}
