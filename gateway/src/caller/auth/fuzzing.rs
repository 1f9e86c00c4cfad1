//! What fuzzing holds tokens to: nobody gets in without a signature, and who gets in
//! is who the claims say.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use jsonwebtoken::{EncodingKey, Header};
use proto::{MAX_PATTERNS, Pattern, Time, UserId};
use serde_json::Value;

use super::{Authenticator, Contents, Reason};
use crate::config::{AuthConfig, Secret};

const SECRET: &str = "a secret of the tests, long enough";
const LONGEST: Duration = Duration::from_secs(86_400);

/// A token as text, which proves nothing; or claims in JSON, which are signed. The
/// time is not real: `exp` counts from now where it is small.
pub fn tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(contents) = Contents::of(text) {
        for (_, line) in contents.lines(SystemTime::now()) {
            // An escape takes up to ten characters.
            assert!(line.chars().count() <= 2_300 && !line.contains(char::is_control), "{line}");
        }
    }
    assert!(examined(text).is_err(), "nobody has signed this");
    let Ok(mut claims) = serde_json::from_str::<Value>(text) else { return };
    let now = Time::now().seconds();
    if let Some(exp) = claims.get("exp").and_then(Value::as_u64).filter(|exp| *exp < 1_000_000_000) {
        claims["exp"] = (now + exp).into();
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key).expect("JSON is encoded");
    let refused = match examined(&token) {
        Ok(identity) => {
            assert_eq!(claims["sub"].as_str(), Some(identity.user.as_str()));
            let named = |name: &str| claims.get(name).filter(|value| !value.is_null());
            if let Some(device) = named("device") {
                assert_eq!(device.as_str(), identity.device.as_ref().map(|device| device.as_str()));
            }
            let scope = claims["scope"].as_str().unwrap_or_default();
            let has = |word| scope.split(' ').any(|one| one == word);
            let scopes = identity.permissions.scopes;
            assert_eq!((scopes.service, scopes.publish), (has("service"), has("publish")));
            for name in ["subscribe", "presence"] {
                let Some(list) = named(name) else { continue };
                let list = list.as_array().expect("a list");
                assert!(list.len() <= MAX_PATTERNS);
                assert!(list.iter().all(|one| one.as_str().is_some_and(|text| Pattern::parse(text).is_ok())));
            }
            let exp = claims["exp"].as_f64().expect("a number");
            assert!(exp >= (now - 10) as f64 && exp <= (now + LONGEST.as_secs() + 10) as f64);
            return;
        }
        Err(refused) => refused,
    };
    assert!(refused.word() != Reason::Signature.as_str(), "it was signed");
    // A good user with a good end and nothing else is let in.
    let only = claims.as_object().is_some_and(|claims| claims.len() == 2);
    let user = claims["sub"].as_str().is_some_and(|sub| UserId::parse(sub).is_ok());
    let end = claims["exp"].as_u64().is_some_and(|exp| exp > now && exp < now + LONGEST.as_secs());
    assert!(!(only && user && end) || token.len() > 16_384, "{claims}");
}

fn examined(token: &str) -> Result<crate::caller::identity::Identity, super::Refusal> {
    thread_local! {
        static AUTHENTICATOR: Authenticator = {
            let secret = Some(Secret::from(SECRET));
            let config = AuthConfig { secret, max_token_life: LONGEST, ..AuthConfig::default() };
            Authenticator::new(&config).expect("a secret is enough")
        };
    }
    AUTHENTICATOR.with(|one| one.examine(token).now_or_never().expect("no keys are fetched"))
}
