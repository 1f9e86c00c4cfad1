//! Whose limits a command or a request counts for.

use proto::UserId;

use proto::Class;

/// Whose limit counts: the token's user's, whomever it acts for.
#[derive(Debug, Clone, Copy)]
pub struct Payer<'a> {
    /// The token's user.
    pub user: &'a UserId,
    /// Its token has the scope `service`.
    pub service: bool,
}

impl Payer<'_> {
    /// The class that counts for what is of this one.
    pub(super) fn class(self, class: Class) -> Class {
        if self.service { Class::Service } else { class }
    }
}
