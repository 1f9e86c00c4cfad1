//! The payer of a command or request: whose limit it counts for.

use proto::UserId;

use proto::Class;

/// The payer: the token's user, whomever the token acts for.
#[derive(Debug, Clone, Copy)]
pub struct Payer<'a> {
    /// The token's user.
    pub user: &'a UserId,
    /// Whether the token has the scope `service`.
    pub service: bool,
}

impl Payer<'_> {
    /// The class that is counted for this payer.
    pub(super) fn class(self, class: Class) -> Class {
        if self.service { Class::Service } else { class }
    }
}
