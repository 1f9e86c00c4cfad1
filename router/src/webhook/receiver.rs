//! The webhook as an HTTP client sees it: posts signed requests, one at a time.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use proto::Time;

use super::args::Webhook;

/// The body of a response is not used. So many bytes of it are read, so that the
/// connection can be used again.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long a connection is kept for the next request. Servers and balancers
/// usually allow more.
const IDLE: Duration = Duration::from_secs(15);

/// The server that requests go to.
pub(super) struct Receiver {
    url: Uri,
    key: hmac::Key,
    timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Receiver {
    pub(super) fn new(hook: &Webhook) -> Result<Self, String> {
        let url = hook.url.uri()?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector(&url)?);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &hook.secret.0);
        Ok(Self { url, key, timeout: hook.timeout, client })
    }

    /// Posts once. A response of 2xx in time is success; anything else fails with
    /// the reason. Redirects are not followed, so that a signed request goes only
    /// where it was meant to go.
    pub(super) async fn post(&self, id: &str, body: Bytes) -> Result<(), String> {
        let posted = tokio::time::timeout(self.timeout, self.try_post(id, body));
        posted.await.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout)))
    }

    async fn try_post(&self, id: &str, body: Bytes) -> Result<(), String> {
        // Signed again for each try: receivers refuse old timestamps.
        let now = Time::now().seconds();
        let request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .header("switchboard-timestamp", now)
            .header("switchboard-signature", signature(&self.key, now, &body))
            .header("idempotency-key", id)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| reason(&error))?;
        let status = response.status();
        // The status counts, even when the body breaks off.
        let _ = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
    }
}

/// `v1=` and the HMAC of `<timestamp>.<body>` in hex.
fn signature(key: &hmac::Key, timestamp: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(timestamp.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    context.sign().as_ref().iter().fold(String::from("v1="), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

/// The error and its causes. hyper's own text says only which step failed.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// TLS for https URLs only: a host without root certificates can still post by
/// http.
fn connector(url: &Uri) -> Result<HttpsConnector<HttpConnector>, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = if url.scheme_str() == Some("https") {
        HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| format!("the host's certificates cannot be read: {error}"))?
            .https_only()
    } else {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http()
    };
    Ok(builder.enable_http1().build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_of_timestamp_and_body_in_hex() {
        // As `printf '%s' '1790000000.{"id":"x"}' | openssl dgst -sha256 -hmac KEY` gives it.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123456789abcdef");
        assert_eq!(
            signature(&key, 1_790_000_000, br#"{"id":"x"}"#),
            "v1=1e57a4ab5093890d909a839ac0793b10eac6ef38e509b421e1a9c0d57a211284"
        );
    }
}
