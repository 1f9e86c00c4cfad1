//! Instruments for all crates and their export. Crates ask [`meter`] and know
//! nothing of exporters; without [`start`] (tests) every instrument does
//! nothing.

use anyhow::Context as _;
use opentelemetry::metrics::Meter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

/// Where instruments are made. Their names begin with `switchboard.`.
pub fn meter() -> Meter {
    opentelemetry::global::meter("switchboard")
}

/// The running export of a process. Further exporters (OTLP) become further
/// readers of its provider.
#[derive(Debug, Clone)]
pub struct Telemetry {
    registry: Registry,
    provider: SdkMeterProvider,
}

/// Starts the export of metrics, once a process and before the first
/// instrument is made.
pub fn start(service: &'static str) -> anyhow::Result<Telemetry> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .build()
        .context("the prometheus exporter did not start")?;
    let provider = SdkMeterProvider::builder()
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_reader(exporter)
        .build();
    opentelemetry::global::set_meter_provider(provider.clone());
    Ok(Telemetry { registry, provider })
}

impl Telemetry {
    /// Everything measured so far, as Prometheus text.
    pub fn prometheus_text(&self) -> anyhow::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).context("metrics could not be written")
    }

    /// Hands over what is not exported yet.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::debug!(%error, "metrics were not handed over");
        }
    }
}
