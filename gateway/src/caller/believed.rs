//! Which tokens are believed: those that hold ([`super::auth`]) and were not revoked.

use std::sync::Arc;
use std::time::Duration;

use super::auth::{Authenticator, Reason, refused};
use super::identity::Identity;
use crate::protocol::failure::Failure;
use crate::session::{Proof, Revocations};

/// Verifies tokens, and knows which were revoked.
pub struct Believed {
    /// Verifies tokens' signatures and claims.
    pub auth: Authenticator,
    /// Those that are not believed any more.
    pub revocations: Arc<Revocations>,
    /// How long a request waits until it is known which these are.
    pub patience: Duration,
}

impl Believed {
    /// The identity that this token proves. Fails with `unauthorized`, or with
    /// `unavailable` where that cannot be known now.
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, Failure> {
        let identity = self.auth.verify(token).await?;
        self.believe(&identity.proof).await?;
        Ok(identity)
    }

    /// Fails for a token that was revoked. Waits until this node knows.
    pub(super) async fn believe(&self, proof: &Proof) -> Result<(), Failure> {
        if !self.revocations.settled(self.patience).await {
            return Err(Failure::unavailable("which tokens were revoked is not known at the moment"));
        }
        self.still_believe(proof)
    }

    /// The same, for a token that was believed a moment ago.
    pub(crate) fn still_believe(&self, proof: &Proof) -> Result<(), Failure> {
        if self.revocations.refuses(proof) {
            return Err(refused(Reason::Revoked, "the token has been revoked"));
        }
        Ok(())
    }
}
