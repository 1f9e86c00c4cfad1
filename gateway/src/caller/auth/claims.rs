//! What a token claims, and the rules that its claims must follow.

use std::time::Duration;

use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use proto::{DeviceId, MAX_PATTERNS, Pattern, Time, TokenEnd, TokenId, UserId};
use serde::Deserialize;
use serde_json::Value;

use super::refusal::Refusal;
use crate::caller::identity::Identity;
use crate::config::TOKEN_LEEWAY;
use crate::protocol::permissions::Permissions;
use crate::protocol::scopes::Scopes;
use crate::protocol::unauthorized::Reason;
use crate::session::Proof;

/// The claims that count here, each of any form: an error then names the claim
/// that is wrong.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    sub: Value,
    #[serde(default)]
    device: Value,
    #[serde(default)]
    scope: Value,
    #[serde(default)]
    subscribe: Value,
    #[serde(default)]
    presence: Value,
    #[serde(default)]
    exp: Value,
    #[serde(default)]
    iat: Value,
    #[serde(default)]
    jti: Value,
}

/// The rules that a token's claims must follow.
#[derive(Debug)]
pub(super) struct Rules {
    /// The accepted `aud`; empty: not checked.
    pub audiences: Vec<String>,
    /// The accepted `iss`; empty: not checked.
    pub issuers: Vec<String>,
    /// How far in the future `exp` may be.
    pub longest: Duration,
    /// What every token allows; what a token claims is added to it.
    pub everybody: Permissions,
}

impl Rules {
    /// jsonwebtoken's settings for tokens of this algorithm.
    pub(super) fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = TOKEN_LEEWAY.as_secs();
        validation.validate_nbf = true;
        // Without a configured audience a token's `aud` is ignored.
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

    /// The identity that these claims give. Signature and times were checked
    /// already. Fails with `unauthorized` and the claim that is wrong.
    pub(super) fn identity(&self, claims: &Claims) -> Result<Identity, Refusal> {
        let claim = |text: String| Refusal::new(Reason::Claim, text);
        let sub = text("sub", &claims.sub, "a string")?;
        let sub = sub.ok_or_else(|| claim("the token's `sub` is missing".to_owned()))?;
        let user = UserId::parse(sub).map_err(|rule| claim(format!("the token's `sub` {rule}")))?;
        let device = text("device", &claims.device, "a string")?.map(DeviceId::parse).transpose();
        let device = device.map_err(|rule| claim(format!("the token's `device` {rule}")))?;
        let scope = text("scope", &claims.scope, "one string of words with blanks between them")?;
        let proof = Proof {
            issued: issued(&claims.iat, Time::now()),
            // One of another form cannot be named either.
            jti: claims.jti.as_str().and_then(|id| TokenId::parse(id).ok()),
            ..Proof::of(user.clone(), self.end(&claims.exp)?)
        };
        Ok(Identity {
            user,
            device,
            permissions: Permissions {
                scopes: scope.map(Scopes::parse).unwrap_or_default(),
                subscribe: self.everybody.subscribe.and(patterns("subscribe", &claims.subscribe)?),
                presence: self.everybody.presence.and(patterns("presence", &claims.presence)?),
            },
            proof: proof.into(),
        })
    }

    /// The token's end. Fails when it is too far ahead.
    fn end(&self, exp: &Value) -> Result<TokenEnd, Refusal> {
        let exp = seconds(exp);
        let latest = Duration::from_millis(Time::now().0)
            .saturating_add(self.longest)
            .as_secs()
            .saturating_add(TOKEN_LEEWAY.as_secs());
        if exp <= latest {
            return Ok(TokenEnd(exp));
        }
        let most = self.longest.as_secs();
        Err(Refusal::new(Reason::TooLong, format!("the token's `exp` lies more than {most} seconds ahead")))
    }
}

/// Whole seconds of a NumericDate, which may have a fraction (RFC 7519 §2). Its
/// form was checked already.
fn seconds(exp: &Value) -> u64 {
    // Converting a float to an integer saturates.
    exp.as_u64().unwrap_or_else(|| exp.as_f64().unwrap_or_default() as u64)
}

/// When a token was issued (`iat`); 0 where it does not say, or says what lies ahead:
/// it would never be older than a revocation.
fn issued(iat: &Value, now: Time) -> Time {
    // Converting a float to an integer saturates.
    let issued = Time((iat.as_f64().unwrap_or_default() * 1_000.0) as u64);
    if issued > now.after(TOKEN_LEEWAY) { Time(0) } else { issued }
}

/// A claim that must be a string, if it is there.
fn text<'a>(name: &str, value: &'a Value, form: &str) -> Result<Option<&'a str>, Refusal> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(wrong(name, form, other)),
    }
}

/// A claim that must be a list of names or beginnings of names, if it is there.
fn patterns(name: &str, value: &Value) -> Result<Vec<Pattern>, Refusal> {
    let form = format!("a list of at most {MAX_PATTERNS} names");
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) if list.len() <= MAX_PATTERNS => list,
        Value::Array(_) => {
            return Err(Refusal::new(Reason::Claim, format!("the token's `{name}` must be {form}")));
        }
        other => return Err(wrong(name, &form, other)),
    };
    let pattern = |(index, value): (usize, &Value)| {
        let name = format!("{name}[{index}]");
        let text = text(&name, value, "a string")?.unwrap_or_default();
        Pattern::parse(text)
            .map_err(|rule| Refusal::new(Reason::Claim, format!("the token's `{name}` {rule}")))
    };
    list.iter().enumerate().map(pattern).collect()
}

fn wrong(name: &str, form: &str, found: &Value) -> Refusal {
    let found = match found {
        Value::Null => "null",
        Value::String(_) => "a string",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::new(Reason::Claim, format!("the token's `{name}` must be {form}, not {found}"))
}

/// What is wrong with a token, for its holder; `None` when only the signature
/// does not match, so that the next key is tried.
pub(super) fn refusal(kind: &ErrorKind) -> Option<Refusal> {
    let (reason, text) = match kind {
        ErrorKind::InvalidSignature => return None,
        ErrorKind::MissingRequiredClaim(name) => {
            (Reason::Claim, format!("the token's `{name}` is missing or not of the right form"))
        }
        ErrorKind::InvalidClaimFormat(name) => {
            (Reason::Claim, format!("the token's `{name}` is not of the right form"))
        }
        ErrorKind::ExpiredSignature => (Reason::Expired, "the token has expired".to_owned()),
        ErrorKind::ImmatureSignature => {
            (Reason::NotYet, "the token is not valid yet (its `nbf` lies ahead)".to_owned())
        }
        ErrorKind::InvalidIssuer => (Reason::Issuer, "the token's `iss` is not accepted here".to_owned()),
        ErrorKind::InvalidAudience => (Reason::Audience, "the token's `aud` is not accepted here".to_owned()),
        ErrorKind::Json(_) => (Reason::Claim, "the token's claims are not of the right form".to_owned()),
        _ => (Reason::Malformed, "the token is not a JWT".to_owned()),
    };
    Some(Refusal::new(reason, text))
}
