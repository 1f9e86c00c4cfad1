//! OTLP exporters. They run on their own threads behind bounded queues: a
//! collector that cannot be reached slows nothing down, and what does not fit
//! into the queue is dropped.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithHttpConfig, WithTonicConfig};
use tokio::runtime::Handle;

use crate::settings::Protocol;

/// The most bytes read of a collector's response; it says nothing that we use.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// An upper bound of a request. The exporters' own timeout (10 s, or as
/// `OTEL_EXPORTER_OTLP_TIMEOUT` says) is usually shorter.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn spans(protocol: Protocol, headers: &Headers) -> anyhow::Result<SpanExporter> {
    let exporter = match protocol {
        Protocol::Grpc => headers.over_grpc(SpanExporter::builder().with_tonic()).build(),
        Protocol::Http => headers.over_http(SpanExporter::builder().with_http())?.build(),
    };
    exporter.context("traces cannot be exported")
}

pub(crate) fn metrics(protocol: Protocol, headers: &Headers) -> anyhow::Result<MetricExporter> {
    let exporter = match protocol {
        Protocol::Grpc => headers.over_grpc(MetricExporter::builder().with_tonic()).build(),
        Protocol::Http => headers.over_http(MetricExporter::builder().with_http())?.build(),
    };
    exporter.context("metrics cannot be exported")
}

pub(crate) fn logs(protocol: Protocol, headers: &Headers) -> anyhow::Result<LogExporter> {
    let exporter = match protocol {
        Protocol::Grpc => headers.over_grpc(LogExporter::builder().with_tonic()).build(),
        Protocol::Http => headers.over_http(LogExporter::builder().with_http())?.build(),
    };
    exporter.context("logs cannot be exported")
}

/// Headers of every export, beside those of the variables: credentials.
#[derive(Clone, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// An exporter over gRPC that sends them.
    fn over_grpc<B: WithTonicConfig>(&self, exporter: B) -> B {
        exporter.with_metadata(MetadataMap::from_headers(self.0.clone()))
    }

    /// An exporter over HTTP that sends them.
    fn over_http<B: WithHttpConfig>(&self, exporter: B) -> anyhow::Result<B> {
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.to_string(), value.to_str().ok()?.to_owned()))
        };
        let headers: HashMap<String, String> = self.0.iter().filter_map(text).collect();
        Ok(exporter.with_http_client(Http::new()?).with_headers(headers))
    }
}

/// Without the values: they are secret.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `name=value,name=value`, as `OTEL_EXPORTER_OTLP_HEADERS` has it: values are
/// percent-encoded. The error quotes nothing.
impl FromStr for Headers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be name=value, or several with commas between them";
        let mut headers = HeaderMap::new();
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=').ok_or(FORM)?;
            let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().map_err(|_| FORM)?;
            let name: HeaderName = name.trim().parse().map_err(|_| FORM)?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| FORM)?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(Self(headers))
    }
}

/// An HTTP client that runs on the process's runtime, whichever thread calls
/// it.
struct Http {
    runtime: Handle,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Http {
    fn new() -> anyhow::Result<Self> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
            .context("the system's certificates cannot be read")?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { runtime: Handle::current(), client })
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        send_credentials_apart(&mut request)?;
        let response = self.client.request(request.map(Full::new));
        #[allow(
            clippy::disallowed_methods,
            reason = "waited for right here, by a thread outside the runtime"
        )]
        let task = self.runtime.spawn(async move {
            tokio::time::timeout(TIMEOUT, async move {
                let (parts, body) = response.await?.into_parts();
                let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(parts, body))
            })
            .await?
        });
        task.await?
    }
}

/// Sends user and password of an endpoint's URL as Basic credentials (RFC
/// 7617), unless a header has others. In the URL they would not be sent at all,
/// and hyper would log them.
fn send_credentials_apart(request: &mut Request<Bytes>) -> Result<(), HttpError> {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let Some((credentials, host)) = authority.as_deref().and_then(|text| text.rsplit_once('@')) else {
        return Ok(());
    };
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(credentials).collect();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(decoded)))?;
    value.set_sensitive(true);
    request.headers_mut().entry(header::AUTHORIZATION).or_insert(value);
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(host.parse()?);
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(())
}

impl fmt::Debug for Http {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Http")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_of_an_endpoint_leave_its_url() {
        let mut request = Request::post("http://a:b%20c@host:4318/v1/traces?k=v").body(Bytes::new()).unwrap();
        send_credentials_apart(&mut request).unwrap();
        assert_eq!(request.uri(), "http://host:4318/v1/traces?k=v");
        // `a:b c`.
        assert_eq!(request.headers()[header::AUTHORIZATION], "Basic YTpiIGM=");
        let mut plain = Request::post("http://host:4318/v1/traces").body(Bytes::new()).unwrap();
        send_credentials_apart(&mut plain).unwrap();
        assert!(plain.headers().is_empty() && plain.uri() == "http://host:4318/v1/traces");
    }
}
