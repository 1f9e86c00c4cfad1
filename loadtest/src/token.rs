//! Tokens for the clients that are made here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};

/// Signs tokens with a secret that the gateways know too.
#[derive(Clone)]
pub struct Issuer {
    key: EncodingKey,
}

#[derive(serde::Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

impl Issuer {
    /// `secret` is what the gateways were given as `--jwt-secret`.
    pub fn new(secret: &str) -> Self {
        Self { key: EncodingKey::from_secret(secret.as_bytes()) }
    }

    /// A token of a day.
    pub fn token(&self, user: &str) -> String {
        self.token_for(user, Duration::from_secs(24 * 3600))
    }

    /// A token that ends so much later.
    pub fn token_for(&self, user: &str, life: Duration) -> String {
        self.sign(user, SystemTime::now() + life, None)
    }

    /// A token that ends then, which may have passed.
    pub fn token_until(&self, user: &str, end: SystemTime) -> String {
        self.sign(user, end, None)
    }

    /// A token of a day with scopes, separated by spaces.
    pub fn token_with_scope(&self, user: &str, scope: &str) -> String {
        self.sign(user, SystemTime::now() + Duration::from_secs(24 * 3600), Some(scope))
    }

    fn sign(&self, user: &str, end: SystemTime, scope: Option<&str>) -> String {
        let exp = end.duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
        let claims = Claims { sub: user, exp, scope };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key)
            .expect("claims of text and numbers can be signed with a secret")
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}
