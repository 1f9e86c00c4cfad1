//! What a token claims, and the rules that its claims must follow.

use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::{Deserialize, Deserializer};

use crate::failure::Failure;

/// Seconds by which clocks may differ (PROTOCOL.md §3).
const LEEWAY: u64 = 5;

/// The claims that count here.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    pub sub: Option<String>,
    #[serde(default)]
    pub device: Option<String>,
    #[serde(default)]
    pub scope: Option<String>,
    #[serde(deserialize_with = "seconds", default)]
    pub exp: u64,
}

/// Whole seconds of a NumericDate, which may have a fraction (RFC 7519 §2).
/// Whether it is one at all is for the validation to say, which follows.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    // A float turned integer keeps to the integer's bounds.
    Ok(value.as_u64().unwrap_or_else(|| value.as_f64().unwrap_or_default() as u64))
}

/// Whom a token must be for and from.
#[derive(Debug)]
pub(super) struct Rules {
    pub audiences: Vec<String>,
    pub issuers: Vec<String>,
}

impl Rules {
    /// For tokens of this algorithm.
    pub(super) fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        // An audience means nothing to whoever was not told its own.
        validation.validate_aud = !self.audiences.is_empty();
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }
}

/// What is wrong with a token, for whoever holds it; nothing when only the
/// signature does not match, so that the next key may be tried.
pub(super) fn refusal(kind: &ErrorKind) -> Option<Failure> {
    let text = match kind {
        ErrorKind::InvalidSignature => return None,
        ErrorKind::MissingRequiredClaim(name) => {
            format!("the token's `{name}` is missing or not of the right form")
        }
        ErrorKind::InvalidClaimFormat(name) => format!("the token's `{name}` is not of the right form"),
        ErrorKind::ExpiredSignature => "the token has expired".to_owned(),
        ErrorKind::ImmatureSignature => "the token is not valid yet (its `nbf` lies ahead)".to_owned(),
        ErrorKind::InvalidIssuer => "the token's `iss` is not accepted here".to_owned(),
        ErrorKind::InvalidAudience => "the token's `aud` is not accepted here".to_owned(),
        ErrorKind::Json(_) => "the token's claims are not of the right form".to_owned(),
        _ => "the token is not a JWT".to_owned(),
    };
    Some(Failure::unauthorized(text))
}
