//! Which tokens are accepted, and what the others are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use proto::{ErrorCode, Names};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::{JwksUrl, PublicKey, Secret};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const RSA: (&[u8], &[u8]) =
    (include_bytes!("../../../testdata/rsa.pem"), include_bytes!("../../../testdata/rsa.pub.pem"));
const EC: (&[u8], &[u8]) =
    (include_bytes!("../../../testdata/ec.pem"), include_bytes!("../../../testdata/ec.pub.pem"));
const ED: (&[u8], &[u8]) =
    (include_bytes!("../../../testdata/ed.pem"), include_bytes!("../../../testdata/ed.pub.pem"));
const P384: &[u8] = include_bytes!("../../../testdata/p384.pub.pem");

fn public(pem: &[u8]) -> AuthConfig {
    let key = PublicKey { path: PathBuf::from("key.pem"), pem: pem.to_vec() };
    AuthConfig { public_keys: vec![key], ..AuthConfig::default() }
}

fn shared() -> AuthConfig {
    AuthConfig { secret: Some(Secret::new(SECRET)), ..AuthConfig::default() }
}

fn signer(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::RS256 | Algorithm::RS512 | Algorithm::PS256 => EncodingKey::from_rsa_pem(RSA.0).unwrap(),
        Algorithm::ES256 => EncodingKey::from_ec_pem(EC.0).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED.0).unwrap(),
        _ => EncodingKey::from_secret(SECRET),
    }
}

fn sign(algorithm: Algorithm, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &signer(algorithm)).unwrap()
}

fn sign_with_kid(algorithm: Algorithm, kid: &str) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, &alice(), &signer(algorithm)).unwrap()
}

/// Valid claims.
fn alice() -> Value {
    json!({ "sub": "alice", "exp": get_current_timestamp() + 60 })
}

/// Valid claims with one changed; `null` removes it.
fn with(name: &str, value: Value) -> Value {
    let mut claims = alice();
    let members = claims.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), value)
    };
    claims
}

async fn refusal(config: &AuthConfig, token: &str) -> String {
    let failure = Authenticator::new(config).unwrap().verify(token).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unauthorized);
    assert!(!failure.message.contains(token));
    failure.message
}

async fn refused_claims(config: &AuthConfig, claims: &Value) -> String {
    refusal(config, &sign(Algorithm::HS256, claims)).await
}

/// A token put together by hand: its header may claim anything.
fn unsigned(header: &Value, signature: &str) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.{signature}", part(header), part(&alice()))
}

#[tokio::test]
async fn each_algorithm_is_believed_with_its_own_key_and_no_other() {
    let kinds = [
        (Algorithm::HS256, shared()),
        (Algorithm::RS256, public(RSA.1)),
        (Algorithm::ES256, public(EC.1)),
        (Algorithm::EdDSA, public(ED.1)),
    ];
    for (signed, _) in &kinds {
        let token = sign(*signed, &alice());
        for (configured, config) in &kinds {
            let verified = Authenticator::new(config).unwrap().verify(&token).await;
            match verified {
                Ok(identity) => {
                    assert_eq!(signed, configured);
                    assert_eq!(identity.user.as_str(), "alice");
                }
                Err(failure) => {
                    assert_ne!(signed, configured);
                    let expected = format!("the token's algorithm {signed:?} is not configured here");
                    assert_eq!(failure.message, expected);
                }
            }
        }
    }
}

#[tokio::test]
async fn several_keys_count_together() {
    let mut config = shared();
    for pem in [RSA.1, EC.1, ED.1] {
        config.public_keys.extend(public(pem).public_keys);
    }
    let authenticator = Authenticator::new(&config).unwrap();
    for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        assert!(authenticator.verify(&sign(algorithm, &alice())).await.is_ok(), "{algorithm:?}");
    }
    for algorithm in [Algorithm::HS512, Algorithm::RS512, Algorithm::PS256] {
        let failure = authenticator.verify(&sign(algorithm, &alice())).await.unwrap_err();
        assert!(failure.message.contains("is not configured here"), "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    // The attack: HS256 over the text of a public key that everybody knows.
    for (_, public_pem) in [RSA, EC, ED] {
        let forged = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &alice(),
            &EncodingKey::from_secret(public_pem),
        )
        .unwrap();
        assert!(refusal(&public(public_pem), &forged).await.contains("algorithm HS256 is not configured"));
        let mut both = public(public_pem);
        both.secret = shared().secret;
        assert_eq!(refusal(&both, &forged).await, "the token's signature does not match");
    }
}

#[tokio::test]
async fn none_is_never_an_algorithm() {
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let token = unsigned(&json!({ "alg": name }), "");
        assert!(refusal(&shared(), &token).await.contains("is not configured here"), "{name}");
    }
}

#[tokio::test]
async fn a_token_that_was_changed_or_is_none_is_refused() {
    let token = sign(Algorithm::HS256, &alice());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = sign(Algorithm::HS256, &with("sub", json!("bob")));
    let (other_signed, _) = other.rsplit_once('.').unwrap();
    let says = "the token's signature does not match";
    assert_eq!(refusal(&shared(), &format!("{other_signed}.{signature}")).await, says);
    let wrong_secret =
        jsonwebtoken::encode(&Header::default(), &alice(), &EncodingKey::from_secret(&[7; 32])).unwrap();
    assert_eq!(refusal(&shared(), &wrong_secret).await, says);
    for text in ["x", "a.b", "a.b.c.d", "....", &"x".repeat(20_000), &format!("{signed}.=")] {
        assert!(refusal(&shared(), text).await.starts_with("the token"), "{text}");
    }
    let critical = unsigned(&json!({ "alg": "HS256", "crit": ["exp"] }), signature);
    assert!(refusal(&shared(), &critical).await.contains("`crit`"));
}

#[tokio::test]
async fn time_has_a_leeway_of_five_seconds() {
    let now = get_current_timestamp();
    let authenticator = Authenticator::new(&shared()).unwrap();
    for claims in
        [with("exp", json!(now - 3)), with("nbf", json!(now + 3)), with("exp", json!(now as f64 + 60.5))]
    {
        assert!(authenticator.verify(&sign(Algorithm::HS256, &claims)).await.is_ok(), "{claims}");
    }
    assert_eq!(refused_claims(&shared(), &with("exp", json!(now - 7))).await, "the token has expired");
    assert!(refused_claims(&shared(), &with("nbf", json!(now + 30))).await.contains("not valid yet"));
}

#[tokio::test]
async fn a_wrong_claim_is_named() {
    for (claim, value, says) in [
        ("exp", Value::Null, "the token's `exp` is missing"),
        ("exp", json!("tomorrow"), "the token's `exp` is missing or not of the right form"),
        ("exp", json!(-5), "the token's `exp`"),
        ("nbf", json!("now"), "the token's `nbf` is not of the right form"),
        ("sub", Value::Null, "the token's `sub` is missing"),
        ("sub", json!("a b"), "the token's `sub` must be 1 to 64"),
        ("device", json!("ä"), "the token's `device` must be"),
        ("sub", json!(7), "the token's `sub` must be a string, not a number"),
        ("device", json!(["d1"]), "the token's `device` must be a string, not a list"),
        (
            "subscribe",
            json!("c_news"),
            "the token's `subscribe` must be a list of at most 100 names, not a string",
        ),
        ("subscribe", json!(["c_news", 7]), "the token's `subscribe[1]` must be a string, not a number"),
        ("presence", json!(["a*b"]), "the token's `presence[0]` must be 1 to 66 characters"),
        ("presence", json!(vec!["bob"; 101]), "the token's `presence` must be a list of at most 100 names"),
        (
            "scope",
            json!(["service"]),
            "the token's `scope` must be one string of words with blanks between them, not",
        ),
    ] {
        let message = refused_claims(&shared(), &with(claim, value)).await;
        assert!(message.starts_with(says), "{claim}: {message}");
    }
}

#[tokio::test]
async fn what_a_token_claims_is_added_to_what_every_token_allows() {
    let mut config = shared();
    let permissions = async |config: &AuthConfig, claims: &Value| {
        let token = sign(Algorithm::HS256, claims);
        Authenticator::new(config).unwrap().verify(&token).await.unwrap().permissions
    };
    let claimed = with("subscribe", json!(["c_team.*"]));
    assert_eq!(permissions(&config, &claimed).await, Permissions::default(), "everything is allowed anyway");
    config.everybody.subscribe = Names::parse(["c_public.*"]).unwrap();
    config.everybody.presence = Names::of([]);
    let some = permissions(&config, &claimed).await;
    assert!(some.subscribe.has("c_team.1") && some.subscribe.has("c_public.1"));
    assert!(!some.subscribe.has("c_other") && !some.presence.has("bob"));
    assert_eq!(permissions(&config, &alice()).await, config.everybody);
}

#[tokio::test]
async fn a_token_that_lives_for_ever_is_refused() {
    let now = get_current_timestamp();
    let mut config = shared();
    for exp in [json!(9_223_372_036_854_775_807_u64), json!(1e18), json!(now + 400 * 86_400)] {
        let message = refused_claims(&config, &with("exp", exp.clone())).await;
        assert!(
            message.starts_with("the token's `exp` lies more than 31622400 seconds ahead"),
            "{exp}: {message}"
        );
    }
    let token = sign(Algorithm::HS256, &with("exp", json!(now + 365 * 86_400)));
    assert!(Authenticator::new(&config).unwrap().verify(&token).await.is_ok());
    // Only the end counts: a beginning long ago makes the token no longer.
    config.max_token_life = Duration::from_secs(100);
    let mut claims = with("exp", json!(now + 90));
    claims["iat"] = json!(now - 86_400);
    assert!(Authenticator::new(&config).unwrap().verify(&sign(Algorithm::HS256, &claims)).await.is_ok());
    let message = refused_claims(&config, &with("exp", json!(now + 200))).await;
    assert!(message.contains("more than 100 seconds ahead"), "{message}");
}

#[tokio::test]
async fn audience_and_issuer_count_only_where_they_are_configured() {
    let mut config = shared();
    let both =
        json!({ "sub": "alice", "exp": get_current_timestamp() + 60, "aud": ["x", "chat"], "iss": "us" });
    let authenticator = Authenticator::new(&config).unwrap();
    assert!(authenticator.verify(&sign(Algorithm::HS256, &both)).await.is_ok());

    config.audiences = vec!["chat".to_owned()];
    config.issuers = vec!["us".to_owned()];
    let authenticator = Authenticator::new(&config).unwrap();
    assert!(authenticator.verify(&sign(Algorithm::HS256, &both)).await.is_ok());
    let mut claims = both.clone();
    claims["aud"] = json!("other");
    assert!(refused_claims(&config, &claims).await.contains("`aud` is not accepted"));
    let mut claims = both.clone();
    claims["iss"] = json!("them");
    assert!(refused_claims(&config, &claims).await.contains("`iss` is not accepted"));
    assert!(refused_claims(&config, &alice()).await.contains("is missing"));
}

#[tokio::test]
async fn a_token_made_here_is_believed_here() {
    let token = token::Token {
        sub: "alice",
        device: Some("phone"),
        scope: Some("service other".to_owned()),
        ttl: Duration::from_secs(60),
        ..token::Token::default()
    };
    let signed = token.sign(&Secret::new(SECRET)).unwrap();
    let identity = Authenticator::new(&shared()).unwrap().verify(&signed).await.unwrap();
    assert_eq!(identity.device.unwrap().as_str(), "phone");
    assert!(identity.permissions.scopes.service && !identity.permissions.scopes.publish);
    assert!(identity.proof.end.0 > get_current_timestamp() + 50);
}

#[test]
fn a_key_that_is_none_says_so() {
    for (pem, says) in [
        (RSA.0, "holds a private key"),
        (P384, "not P-256"),
        (&b"nonsense"[..], "must be a PEM file"),
        (&b"\xff"[..], "must be a PEM file"),
    ] {
        let wrong = Authenticator::new(&public(pem)).unwrap_err().0;
        assert!(wrong.starts_with("--jwt-public-key: key.pem: ") && wrong.contains(says), "{wrong}");
    }
}

/// A server with a key set that may change, counting who asks.
struct KeyServer {
    url: JwksUrl,
    asked: Arc<AtomicUsize>,
    set: Arc<std::sync::Mutex<(u16, String)>>,
    _tasks: TaskTracker,
}

impl KeyServer {
    async fn start(status: u16, set: Value) -> Self {
        let (asked, set) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new((status, set.to_string()))));
        let answer = {
            let (asked, set) = (asked.clone(), set.clone());
            move || async move {
                asked.fetch_add(1, Ordering::SeqCst);
                let (status, text) = set.lock().unwrap().clone();
                (axum::http::StatusCode::from_u16(status).unwrap(), text)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?key=hidden", listener.local_addr().unwrap()).parse().unwrap();
        let tasks = TaskTracker::new();
        tasks.spawn(
            async move { axum::serve(listener, axum::Router::new().route("/keys", get(answer))).await },
        );
        Self { url, asked, set, _tasks: tasks }
    }

    fn config(&self) -> AuthConfig {
        AuthConfig { jwks: Some(self.url.clone()), ..AuthConfig::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn change(&self, status: u16, set: &Value) {
        *self.set.lock().unwrap() = (status, set.to_string());
    }
}

/// The public half of a test key as a set has it.
fn jwk(algorithm: Algorithm, kid: &str) -> Value {
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&signer(algorithm), algorithm).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

#[tokio::test]
async fn keys_of_a_set_are_chosen_by_kid_and_kind() {
    let mut encryption = jwk(Algorithm::RS256, "enc");
    encryption["use"] = json!("enc");
    let secret =
        json!({ "kty": "oct", "kid": "secret", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256" });
    let strange = json!({ "kty": "future", "kid": "x" });
    let keys = [
        jwk(Algorithm::RS256, "r"),
        jwk(Algorithm::ES256, "e"),
        jwk(Algorithm::EdDSA, "d"),
        encryption,
        secret,
        strange,
    ];
    let server = KeyServer::start(200, json!({ "keys": keys })).await;
    let authenticator = Authenticator::new(&server.config()).unwrap();
    for (algorithm, kid) in [(Algorithm::RS256, "r"), (Algorithm::ES256, "e"), (Algorithm::EdDSA, "d")] {
        authenticator.verify(&sign_with_kid(algorithm, kid)).await.unwrap();
        authenticator.verify(&sign(algorithm, &alice())).await.unwrap();
    }
    for (algorithm, kid) in [(Algorithm::RS256, "enc"), (Algorithm::RS256, "e")] {
        let failure = authenticator.verify(&sign_with_kid(algorithm, kid)).await.unwrap_err();
        assert!(failure.message.contains("signing key"), "{kid}: {failure}");
    }
    let failure = authenticator.verify(&sign_with_kid(Algorithm::HS256, "secret")).await.unwrap_err();
    assert!(failure.message.contains("HS256 is not configured"), "{failure}");
}

#[tokio::test]
async fn a_key_that_is_new_is_found_after_made_up_ones_were_asked_for() {
    let server = KeyServer::start(200, json!({ "keys": [jwk(Algorithm::ES256, "old")] })).await;
    let authenticator = Authenticator::new(&server.config()).unwrap();
    authenticator.verify(&sign_with_kid(Algorithm::ES256, "old")).await.unwrap();
    let before = server.asked();
    for _ in 0..20 {
        let failure = authenticator.verify(&sign_with_kid(Algorithm::ES256, "made-up")).await.unwrap_err();
        assert!(failure.message.contains("signing key"), "{failure}");
    }
    // The same unknown name is looked for once.
    assert_eq!(server.asked(), before + 1);
    server.change(200, &json!({ "keys": [jwk(Algorithm::ES256, "new")] }));
    authenticator.verify(&sign_with_kid(Algorithm::ES256, "new")).await.unwrap();
    assert_eq!(server.asked(), before + 2);
}

#[tokio::test]
async fn many_made_up_kids_cause_few_fetches_and_a_new_key_is_to_come_again() {
    let server = KeyServer::start(200, json!({ "keys": [jwk(Algorithm::ES256, "old")] })).await;
    let pace = Pace {
        burst: std::num::NonZeroU32::new(3).unwrap(),
        refill: Duration::from_secs(3_600),
        ..Pace::default()
    };
    let authenticator = Authenticator::with_pace(&server.config(), pace).unwrap();
    authenticator.verify(&sign_with_kid(Algorithm::ES256, "old")).await.unwrap();
    let before = server.asked();
    let mut codes = Vec::new();
    for number in 0..20 {
        let token = sign_with_kid(Algorithm::ES256, &format!("made-up-{number}"));
        codes.push(authenticator.verify(&token).await.unwrap_err().code);
    }
    assert_eq!(server.asked(), before + 3);
    // It is not known whether these keys exist, so they are not refused as
    // unknown.
    assert!(codes[..3].iter().all(|code| *code == ErrorCode::Unauthorized), "{codes:?}");
    assert!(codes[3..].iter().all(|code| *code == ErrorCode::Unavailable), "{codes:?}");
    let failure = authenticator.verify(&sign_with_kid(Algorithm::ES256, "made-up-19")).await.unwrap_err();
    assert!(failure.retry_after_ms.is_some_and(|wait| wait > 60_000), "{failure:?}");
}

#[tokio::test]
async fn a_new_key_without_a_name_is_found_too() {
    let server = KeyServer::start(200, json!({ "keys": [jwk(Algorithm::ES256, "e")] })).await;
    let authenticator = Authenticator::new(&server.config()).unwrap();
    authenticator.verify(&sign(Algorithm::ES256, &alice())).await.unwrap();
    server.change(200, &json!({ "keys": [jwk(Algorithm::EdDSA, "d")] }));
    authenticator.verify(&sign(Algorithm::EdDSA, &alice())).await.unwrap();
}

#[tokio::test]
async fn user_and_password_of_the_set_are_sent_and_not_shown() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!("http://reader:hid%20den@{}/keys?key=hidden", listener.local_addr().unwrap());
    let keys = jwk(Algorithm::ES256, "e");
    let answer = move |headers: axum::http::HeaderMap| async move {
        // `reader:hid den`.
        let known = headers.get("authorization").is_some_and(|value| value == "Basic cmVhZGVyOmhpZCBkZW4=");
        let status = if known { axum::http::StatusCode::OK } else { axum::http::StatusCode::FORBIDDEN };
        (status, json!({ "keys": [keys] }).to_string())
    };
    let tasks = TaskTracker::new();
    tasks.spawn(async move { axum::serve(listener, axum::Router::new().route("/keys", get(answer))).await });
    let url: JwksUrl = text.parse().unwrap();
    let config = AuthConfig { jwks: Some(url.clone()), ..AuthConfig::default() };
    let authenticator = Authenticator::new(&config).unwrap();
    authenticator.verify(&sign_with_kid(Algorithm::ES256, "e")).await.unwrap();
    let shown = format!("{url} {config:?} {authenticator:?}");
    assert!(!shown.contains("hid") && !shown.contains("reader"), "{shown}");
}

#[tokio::test]
async fn a_set_that_cannot_be_had_is_our_fault_until_it_can() {
    let server = KeyServer::start(500, json!({})).await;
    let pace = Pace { retry: Duration::from_millis(20), ..Pace::default() };
    let authenticator = Authenticator::with_pace(&server.config(), pace).unwrap();
    let tasks = daemon::Tasks::new("a test");
    tasks.spawn_until_stop(authenticator.clone().keep_fresh());
    let token = sign(Algorithm::EdDSA, &alice());
    let failure = authenticator.verify(&token).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable);
    server.change(200, &json!({ "keys": [jwk(Algorithm::EdDSA, "d")] }));
    let comes_back = async {
        while authenticator.verify(&token).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), comes_back).await.expect("the next try fetches the keys");
    // A later failure removes no keys.
    server.change(500, &json!({}));
    authenticator.verify(&token).await.unwrap();
}
