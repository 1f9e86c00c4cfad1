//! `revoke`: from when to when the tokens are that are not believed any more.

use proto::wire::{self, request};
use proto::{Revocation, RevokedTokens, Time, UserId};

use super::execute::Commands;
use crate::config::TOKEN_LEEWAY;
use crate::protocol::answer::Answer;
use crate::protocol::failure::Failure;

impl Commands {
    /// Revokes tokens, and returns when that is stored and the gateways were told. Of
    /// a user's tokens those that were issued up to `before` (now, where it is not
    /// given). `until` is when the one token ends, where that is known. Fails as the
    /// router says, and for a `before` that lies ahead.
    pub(super) async fn revoke(
        &self,
        user: &UserId,
        tokens: RevokedTokens,
        before: Option<Time>,
        until: Option<Time>,
    ) -> Result<Answer, Failure> {
        let now = Time::now();
        let before = before.unwrap_or(now);
        if before > now.after(TOKEN_LEEWAY) {
            return Err(Failure::bad_request("`before` must not lie ahead"));
        }
        // What is believed now, or will be, ends by then.
        let longest = now.after(self.longest_token);
        let until = until.unwrap_or(longest).after(TOKEN_LEEWAY);
        if until <= now {
            // The token has ended.
            return Ok(Answer::Done);
        }
        let before = if matches!(tokens, RevokedTokens::Of(_)) { before } else { Time(0) };
        let revocation = Revocation { tokens, before, until };
        let asked = request::Command::Revoke(wire::Revoke { revocation: Some((&revocation).into()) });
        self.context.routers.call(user, asked).await?;
        Ok(Answer::Done)
    }
}
