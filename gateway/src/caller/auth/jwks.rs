//! Keys from a URL (RFC 7517): fetched at start, from time to time, and when a
//! token names a key that is not known. Anybody can make such tokens, so these
//! fetches have a budget, and a name that was not found is not looked for again
//! for a while. So invented names cause little traffic, and do not keep a
//! really new key from being found.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use daemon::causes::with_causes;
use daemon::lock::{LEAF, SharedLock};
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::Jwk;
use proto::{Allowance, Rate};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::key::{Algorithm, Key};
use crate::config::{JwksUrl, Wrong};
use crate::protocol::failure::Failure;

/// The largest key set. One with a hundred large RSA keys has about 80 KiB.
const MAX_SET_BYTES: usize = 512 * 1024;
/// The longest time of a fetch, from connecting to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How many names that were not found are remembered, 16 bytes each. Beyond it
/// the oldest are forgotten, and only the budget limits fetches.
const MISSED: usize = 1_024;

/// How often the set is fetched.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time between fetches that work: a key that was removed from the set
    /// is accepted for at most this long.
    pub refresh: Duration,
    /// The time until the next fetch after a failure.
    pub retry: Duration,
    /// How long a key that was not found is not looked for again.
    pub unknown: Duration,
    /// Fetches for keys that are not known, at once after a pause.
    pub burst: NonZeroU32,
    /// After this time one more such fetch may be made.
    pub refill: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(15 * 60),
            retry: Duration::from_secs(5),
            unknown: Duration::from_secs(30),
            burst: const { NonZeroU32::new(5).expect("five is not zero") },
            refill: Duration::from_secs(10),
        }
    }
}

/// A key set. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct KeySet(Arc<Source>);

/// The keys that one fetch brought.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// The number of successful fetches up to this one.
    fetch: u64,
    keys: Arc<[Key]>,
}

struct Source {
    shown: JwksUrl,
    place: Place,
    pace: Pace,
    /// The keys of the last successful fetch; `None` before the first.
    keys: SharedLock<LEAF, Option<Keys>>,
    /// Hashes names of keys, with a random seed: nobody can choose two names with
    /// one hash.
    names: RandomState,
    /// LockGuard while fetching, so that one fetch serves all who wait.
    fetching: Mutex<Fetching>,
}

/// Where a key set is, and how it is asked for.
struct Place {
    /// The address, without user and password.
    uri: Uri,
    /// User and password as Basic credentials.
    authorization: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// What a key set held.
#[derive(Debug)]
pub struct Fetched {
    /// Keys of any kind.
    pub all: usize,
    /// Keys that tokens may be signed with here.
    pub usable: usize,
}

/// Fetches a key set once, for a check of the configuration; or says why that
/// is not possible. Takes five seconds at most.
pub async fn fetch_once(url: &JwksUrl) -> Result<Fetched, String> {
    let (keys, all) = Place::of(url).map_err(|wrong| wrong.0)?.fetch().await?;
    Ok(Fetched { all, usable: keys.len() })
}

struct Fetching {
    /// Whether a fetch was tried at all.
    begun: bool,
    /// Keys that were not found, and when; the oldest first.
    missed: VecDeque<(u64, Instant)>,
    /// The budget of fetches for unknown keys, at that time.
    budget: Allowance,
    at: Instant,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("url", &self.shown).finish_non_exhaustive()
    }
}

impl KeySet {
    /// A set that is fetched when it is first needed. Fails when the URL has no
    /// form that can be asked, or TLS cannot be set up.
    pub(super) fn new(shown: &JwksUrl, pace: Pace) -> Result<Self, Wrong> {
        Ok(Self(Arc::new(Source {
            shown: shown.clone(),
            place: Place::of(shown)?,
            pace,
            keys: SharedLock::new(None),
            names: RandomState::new(),
            fetching: Mutex::new(Fetching::new(pace.budget())),
        })))
    }

    /// Fetches the keys now and then from time to time. Does not end.
    pub(super) async fn keep_fresh(&self) {
        let source = &*self.0;
        let mut first = true;
        loop {
            let fetched = {
                let mut fetching = source.fetching.lock().await;
                // The first token may have fetched before this task.
                if std::mem::take(&mut first) && std::mem::replace(&mut fetching.begun, true) {
                    source.known().is_some()
                } else {
                    source.fetch().await
                }
            };
            tokio::time::sleep(if fetched { source.pace.refresh } else { source.pace.retry }).await;
        }
    }

    /// The present keys. Waits for the first fetch; fails with `unavailable`
    /// when that has failed.
    pub(super) async fn keys(&self) -> Result<Keys, Failure> {
        if let Some(keys) = self.0.known() {
            return Ok(keys);
        }
        let mut fetching = self.0.fetching.lock().await;
        if !std::mem::replace(&mut fetching.begun, true) {
            self.0.fetch().await;
        }
        self.0.known().ok_or_else(cannot_be_had)
    }

    /// Keys that are newer than `known`, none of which has signed a token that
    /// names `kid`. `None` when there are no newer ones, or this name was not
    /// found a moment ago. Fails with `unavailable` when a key of this name is
    /// needed but cannot be fetched now: the key may be really new.
    pub(super) async fn newer_than(
        &self,
        known: &Keys,
        kid: Option<&str>,
        needed: bool,
    ) -> Result<Option<Keys>, Failure> {
        let source = &*self.0;
        let name = source.names.hash_one(kid);
        let mut fetching = source.fetching.lock().await;
        let newer = source.known().filter(|now| now.fetch > known.fetch);
        if newer.is_some() || fetching.has_missed(name, source.pace.unknown) {
            return Ok(newer);
        }
        if let Err(wait) = fetching.spend(source.pace.budget()) {
            let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
            return if needed { Err(later(milliseconds)) } else { Ok(None) };
        }
        if source.fetch().await {
            fetching.misses(name);
            Ok(source.known())
        } else if needed {
            Err(cannot_be_had())
        } else {
            Ok(None)
        }
    }
}

impl Keys {
    /// The keys that may have signed a token with this algorithm and `kid`:
    /// with a `kid` only keys of this name, without one all.
    pub(super) fn fitting(&self, algorithm: Algorithm, kid: Option<&str>) -> Vec<Key> {
        let fits = |key: &&Key| key.algorithm() == algorithm && (kid.is_none() || key.id.as_deref() == kid);
        self.keys.iter().filter(fits).cloned().collect()
    }
}

impl Pace {
    /// The rate of fetches for unknown keys.
    fn budget(self) -> Rate {
        let refill = self.refill.max(Duration::from_nanos(1));
        Rate { per_second: refill.as_secs_f64().recip(), burst: f64::from(self.burst.get()) }
    }
}

impl Fetching {
    fn new(budget: Rate) -> Self {
        let missed = VecDeque::new();
        Self { begun: false, missed, budget: Allowance::full(budget), at: Instant::now() }
    }

    /// Takes one fetch from the budget, or returns the time until there is one.
    fn spend(&mut self, budget: Rate) -> Result<(), Duration> {
        let now = Instant::now();
        let left = self.budget.after(now - self.at, budget);
        let wait = left.until(1.0, budget);
        let spent = if wait.is_zero() { 1.0 } else { 0.0 };
        (self.budget, self.at) = (left.less(spent, budget), now);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    fn has_missed(&mut self, name: u64, unknown: Duration) -> bool {
        while self.missed.front().is_some_and(|(_, at)| at.elapsed() >= unknown) {
            self.missed.pop_front();
        }
        self.missed.iter().any(|(missed, _)| *missed == name)
    }

    fn misses(&mut self, name: u64) {
        if self.missed.len() >= MISSED {
            self.missed.pop_front();
        }
        self.missed.push_back((name, Instant::now()));
    }
}

fn cannot_be_had() -> Failure {
    Failure::unavailable("the keys that sign tokens cannot be fetched at the moment")
}

fn later(milliseconds: u64) -> Failure {
    let text = "the token's signing key (its `kid`) is not known yet, and is looked for again later";
    Failure { retry_after_ms: Some(milliseconds), ..Failure::unavailable(text) }
}

/// The address to fetch from and its credentials (RFC 7617): user and password
/// must not be sent within a URL.
fn target(mut url: Url) -> Result<(Uri, Option<HeaderValue>), Wrong> {
    let wrong = || Wrong("--jwks-url: has no form that can be asked".to_owned());
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let credentials = (!url.username().is_empty() || url.password().is_some()).then(|| {
        let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    });
    let authorization = credentials.map(|text| {
        let mut value = HeaderValue::try_from(text).expect("base64 is visible ASCII");
        value.set_sensitive(true);
        value
    });
    url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| wrong())?;
    Ok((url.as_str().parse().map_err(|_| wrong())?, authorization))
}

/// Without system certificates http still works.
fn connector(uri: &Uri) -> Result<HttpsConnector<HttpConnector>, Wrong> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = if uri.scheme_str() == Some("https") {
        HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| Wrong(format!("--jwks-url: the host's certificates cannot be read: {error}")))?
            .https_only()
    } else {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Wrong(format!("--jwks-url: TLS cannot be set up: {error}")))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http()
    };
    Ok(builder.enable_http1().build())
}

impl Source {
    fn known(&self) -> Option<Keys> {
        self.keys.read().clone()
    }

    /// Fetches the set. Returns whether that worked; if not, the old keys stay.
    async fn fetch(&self) -> bool {
        match self.place.fetch().await {
            Ok((keys, _)) => {
                tracing::debug!(url = %self.shown, keys = keys.len(), "fetched the key set");
                let mut known = self.keys.write();
                let fetch = known.as_ref().map_or(0, |known| known.fetch) + 1;
                *known = Some(Keys { fetch, keys: keys.into() });
                true
            }
            Err(reason) => {
                tracing::warn!(url = %self.shown, reason, "cannot fetch the key set");
                false
            }
        }
    }
}

impl Place {
    fn of(url: &JwksUrl) -> Result<Self, Wrong> {
        let (uri, authorization) = target(url.url())?;
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector(&uri)?);
        Ok(Self { uri, authorization, client })
    }

    /// The keys that can be used, and how many there are of all kinds.
    async fn fetch(&self) -> Result<(Vec<Key>, usize), String> {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.try_fetch());
        fetched.await.unwrap_or_else(|_| Err(format!("no answer within {FETCH_TIMEOUT:?}")))
    }

    async fn try_fetch(&self) -> Result<(Vec<Key>, usize), String> {
        let mut request = Request::get(self.uri.clone()).body(Empty::new()).expect("a URI is enough");
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| format!("no answer: {}", with_causes(&error)))?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_SET_BYTES).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
        parse(&body)
    }
}

/// The keys of a set that can be used here, and how many there are of all kinds:
/// one of a kind that is not known does not spoil the others.
fn parse(json: &[u8]) -> Result<(Vec<Key>, usize), String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(json).map_err(|error| format!("not a key set: {error}"))?;
    let all = set.keys.len();
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok((keys.filter_map(|jwk| Key::from_jwk(&jwk)).collect(), all))
}
