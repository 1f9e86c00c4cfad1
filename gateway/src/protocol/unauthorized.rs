//! Why a credential does not hold (PROTOCOL.md §3).

/// Names and their words in metrics and logs, once for both.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// Why a credential does not hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name),*
        }

        impl Reason {
            /// The words of all, in their order.
            pub const WORDS: &[&str] = &[$($word),*];
        }
    };
}

reasons! {
    /// There is none.
    Missing = "missing",
    /// It is not a JWT, or not given as one.
    Malformed = "malformed",
    /// Signed in a way that no key here is for.
    Algorithm = "algorithm",
    /// Its `kid` names no key that is known.
    UnknownKey = "unknown_key",
    /// No key here has signed it.
    Signature = "signature",
    /// Its `exp` is over.
    Expired = "expired",
    /// Its `nbf` lies ahead.
    NotYet = "not_yet",
    /// Its `exp` lies too far ahead.
    TooLong = "too_long",
    /// From somebody else.
    Issuer = "issuer",
    /// For somebody else.
    Audience = "audience",
    /// It was revoked.
    Revoked = "revoked",
    /// A claim is missing or not of the right form.
    Claim = "claim",
    /// The ticket was used, is over, or never was.
    Ticket = "ticket",
}

impl Reason {
    /// As metrics and logs have it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}
