//! Exporters of OTLP. They run on threads of their own behind bounded queues:
//! a collector that cannot be reached slows nothing, and what does not fit is
//! dropped.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithHttpConfig as _};
use tokio::runtime::Handle;

use crate::settings::Protocol;

/// Of a collector's answer, which says nothing of use.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The exporters' own timeout is shorter, unless somebody set it otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn spans(protocol: Protocol) -> anyhow::Result<SpanExporter> {
    let exporter = match protocol {
        Protocol::Grpc => SpanExporter::builder().with_tonic().build(),
        Protocol::Http => SpanExporter::builder().with_http().with_http_client(Http::new()?).build(),
    };
    exporter.context("traces cannot be exported")
}

pub(crate) fn metrics(protocol: Protocol) -> anyhow::Result<MetricExporter> {
    let exporter = match protocol {
        Protocol::Grpc => MetricExporter::builder().with_tonic().build(),
        Protocol::Http => MetricExporter::builder().with_http().with_http_client(Http::new()?).build(),
    };
    exporter.context("metrics cannot be exported")
}

pub(crate) fn logs(protocol: Protocol) -> anyhow::Result<LogExporter> {
    let exporter = match protocol {
        Protocol::Grpc => LogExporter::builder().with_tonic().build(),
        Protocol::Http => LogExporter::builder().with_http().with_http_client(Http::new()?).build(),
    };
    exporter.context("logs cannot be exported")
}

/// Posts on the process's runtime, whichever thread asks.
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
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let asked = self.client.request(request.map(Full::new));
        #[allow(
            clippy::disallowed_methods,
            reason = "waited for right here, by a thread outside the runtime"
        )]
        let answer = self.runtime.spawn(async move {
            tokio::time::timeout(TIMEOUT, async move {
                let (parts, body) = asked.await?.into_parts();
                let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(parts, body))
            })
            .await?
        });
        answer.await?
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Http")
    }
}
