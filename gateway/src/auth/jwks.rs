//! Keys from a URL (RFC 7517): fetched at start, from time to time, and when a
//! token names a key that is not known, but for that at most once a minute, so
//! that made-up names cause no traffic.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daemon::lock::{LEAF, SharedLock};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use url::Url;

use super::key::{Algorithm, Key};
use crate::config::Wrong;
use crate::failure::Failure;

/// A set of a hundred large RSA keys has about 80 KiB.
const MAX_SET_BYTES: usize = 512 * 1024;
/// From connecting to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the set is fetched.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// While all goes well: a key that was taken out of the set counts for at
    /// most this long.
    pub refresh: Duration,
    /// After a failure.
    pub retry: Duration,
    /// Between two fetches for keys that are not known.
    pub unknown: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(15 * 60),
            retry: Duration::from_secs(5),
            unknown: Duration::from_secs(60),
        }
    }
}

/// A key set that keeps itself fresh until it is dropped.
#[derive(Debug)]
pub(super) struct KeySet {
    source: Arc<Source>,
    _refresh: AbortOnDropHandle<()>,
}

struct Source {
    url: Url,
    pace: Pace,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// What the last fetch that went well brought; nothing before.
    keys: SharedLock<LEAF, Option<Arc<[Key]>>>,
    /// Held while fetching, so that one fetch serves all who wait; when the
    /// last one for an unknown key, or the first of all, began.
    fetching: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl KeySet {
    /// Begins to fetch.
    pub(super) fn fetch_from(url: &Url, pace: Pace) -> Result<Self, Wrong> {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector(url)?);
        let source = Arc::new(Source {
            url: url.clone(),
            pace,
            client,
            keys: SharedLock::new(None),
            fetching: Mutex::new(None),
        });
        let refresh = TaskTracker::new().spawn(keep_fresh(source.clone()));
        Ok(Self { source, _refresh: AbortOnDropHandle::new(refresh) })
    }

    /// The keys that may have signed a token with this algorithm and `kid`:
    /// with a `kid` only those of this name, without one all.
    pub(super) async fn keys_for(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<Vec<Key>, Failure> {
        let source = &*self.source;
        let known = source.known();
        let found = known.as_deref().map(|keys| select(keys, algorithm, kid)).unwrap_or_default();
        if !found.is_empty() || (known.is_some() && kid.is_none()) {
            return Ok(found);
        }
        source.fetch_for_unknown().await;
        match source.known() {
            Some(keys) => Ok(select(&keys, algorithm, kid)),
            None => Err(Failure::unavailable("the keys that sign tokens cannot be fetched at the moment")),
        }
    }
}

/// A host without certificates can still fetch by http.
fn connector(url: &Url) -> Result<HttpsConnector<HttpConnector>, Wrong> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = if url.scheme() == "https" {
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

fn select(keys: &[Key], algorithm: Algorithm, kid: Option<&str>) -> Vec<Key> {
    let fits = |key: &&Key| key.algorithm() == algorithm && (kid.is_none() || key.id.as_deref() == kid);
    keys.iter().filter(fits).cloned().collect()
}

async fn keep_fresh(source: Arc<Source>) {
    let mut begun = false;
    loop {
        let fetched = {
            let mut last = source.fetching.lock().await;
            // The first token may have been faster to ask than this task.
            if !begun && source.known().is_some() {
                true
            } else {
                last.get_or_insert_with(Instant::now);
                source.fetch().await
            }
        };
        begun = true;
        tokio::time::sleep(if fetched { source.pace.refresh } else { source.pace.retry }).await;
    }
}

impl Source {
    fn known(&self) -> Option<Arc<[Key]>> {
        self.keys.read().clone()
    }

    /// Fetches unless one has just done so; whoever comes while another
    /// fetches waits for that one.
    async fn fetch_for_unknown(&self) {
        let mut last = self.fetching.lock().await;
        if last.is_some_and(|at| at.elapsed() < self.pace.unknown) {
            return;
        }
        *last = Some(Instant::now());
        self.fetch().await;
    }

    /// Whether it went well; the keys stay as they were when it did not.
    async fn fetch(&self) -> bool {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.try_fetch());
        match fetched.await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(keys) => {
                tracing::debug!(url = %self.url, keys = keys.len(), "fetched the key set");
                *self.keys.write() = Some(keys.into());
                true
            }
            Err(reason) => {
                tracing::warn!(url = %self.url, reason, "cannot fetch the key set");
                false
            }
        }
    }

    async fn try_fetch(&self) -> Result<Vec<Key>, String> {
        let uri: http::Uri = self.url.as_str().parse().map_err(|error| format!("not a URL: {error}"))?;
        let response = self.client.get(uri).await.map_err(|error| format!("no answer: {error}"))?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_SET_BYTES).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
        parse(&body)
    }
}

/// The keys of a set that can be used here; those of kinds that are not known
/// do not spoil the others.
fn parse(json: &[u8]) -> Result<Vec<Key>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(json).map_err(|error| format!("not a key set: {error}"))?;
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(keys.filter_map(|jwk| Key::from_jwk(&jwk)).collect())
}
