//! Verifies tokens: from a token to the identity that it proves, or the reason
//! why it is refused. Keys come from the configuration and from a key set that
//! is fetched. An algorithm without a key is refused, whatever the token says.

mod claims;
mod contents;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod header;
mod jwks;
mod key;
mod refusal;
pub mod token;

use std::sync::Arc;

use crate::caller::identity::Identity;
use crate::config::{AuthConfig, PublicKey, Wrong};
use crate::protocol::failure::Failure;
use crate::protocol::permissions::Permissions;
use claims::Rules;
use header::Header;
use jwks::KeySet;
use key::{Algorithm, Key};

pub use crate::protocol::unauthorized::Reason;
pub use contents::Contents;
pub use jwks::{Fetched, Pace, fetch_once};
pub use refusal::{Refusal, refused};

/// Verifies tokens; cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keys: Vec<Key>,
    fetched: Option<KeySet>,
    rules: Rules,
}

impl Authenticator {
    /// Reads the keys. A key set that has a URL is fetched when a token first
    /// needs it; see [`Self::keep_fresh`]. Fails when a key cannot be used.
    pub fn new(config: &AuthConfig) -> Result<Self, Wrong> {
        Self::with_pace(config, Pace::default())
    }

    /// The same, fetching key sets at another pace.
    pub fn with_pace(config: &AuthConfig, pace: Pace) -> Result<Self, Wrong> {
        let mut keys: Vec<Key> = config.secret.iter().map(|secret| Key::shared(secret.bytes())).collect();
        for file in &config.public_keys {
            keys.push(public_key(file)?);
        }
        let fetched = config.jwks.as_ref().map(|url| KeySet::new(url, pace)).transpose()?;
        let rules = Rules {
            audiences: config.audiences.clone(),
            issuers: config.issuers.clone(),
            longest: config.max_token_life,
            everybody: config.everybody.clone(),
        };
        Ok(Self { inner: Arc::new(Inner { keys, fetched, rules }) })
    }

    /// What every token allows.
    pub fn everybody(&self) -> &Permissions {
        &self.inner.rules.everybody
    }

    /// Fetches the key set, if there is one, now and from time to time. To be run
    /// for as long as tokens are verified; without a key set it ends at once.
    pub async fn keep_fresh(self) {
        if let Some(fetched) = self.inner.fetched.clone() {
            fetched.keep_fresh().await;
        }
    }

    /// The identity that this token proves. Fails with `unauthorized` and what
    /// is wrong with the token, or with `unavailable` when the key set cannot
    /// be fetched.
    pub async fn verify(&self, token: &str) -> Result<Identity, Failure> {
        self.examine(token).await.map_err(Failure::from)
    }

    /// The same, without counting or logging a refusal.
    pub async fn examine(&self, token: &str) -> Result<Identity, Refusal> {
        let header = Header::of(token)?;
        let algorithm = Algorithm::named(&header.alg).filter(|algorithm| self.knows(*algorithm));
        let Some(algorithm) = algorithm else { return Err(header.not_configured()) };

        let rules = &self.inner.rules;
        let own = self.inner.keys.iter().filter(|key| key.algorithm() == algorithm);
        let mut tried = false;
        for key in own {
            tried = true;
            if let Some(claims) = key.open(token, rules)? {
                return rules.identity(&claims);
            }
        }
        if let Some(set) = &self.inner.fetched {
            let kid = header.kid.as_deref();
            let mut known = set.keys().await?;
            loop {
                let fitting = known.fitting(algorithm, kid);
                for key in &fitting {
                    if let Some(claims) = key.open(token, rules)? {
                        return rules.identity(&claims);
                    }
                }
                // The key may be newer than the known ones.
                match set.newer_than(&known, kid, fitting.is_empty()).await? {
                    Some(newer) => known = newer,
                    None => {
                        tried |= !fitting.is_empty();
                        break;
                    }
                }
            }
        }
        Err(if tried {
            Refusal::new(Reason::Signature, "the token's signature does not match")
        } else {
            Refusal::new(Reason::UnknownKey, "the token's signing key (its `kid`) is not known here")
        })
    }

    fn knows(&self, algorithm: Algorithm) -> bool {
        self.inner.keys.iter().any(|key| key.algorithm() == algorithm)
            || (self.inner.fetched.is_some() && algorithm.is_public())
    }
}

fn public_key(file: &PublicKey) -> Result<Key, Wrong> {
    Key::from_pem(&file.pem)
        .map_err(|reason| Wrong(format!("--jwt-public-key: {}: {reason}", file.path.display())))
}

/// The algorithm of the tokens that the key in this file is for, as tokens name
/// it; or why the file cannot be used.
pub fn algorithm_of(file: &PublicKey) -> Result<&'static str, Wrong> {
    Ok(public_key(file)?.algorithm().name())
}

#[cfg(test)]
mod tests;
