//! Telemetry of a process: metrics as Prometheus text always, and metrics,
//! traces and logs by OTLP as the [`Settings`] say.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::{Registry, TextEncoder};
use tokio::runtime::Handle;

use crate::otlp::Headers;
use crate::settings::Settings;
use crate::{otlp, process, trace};

/// The program that exports, for the resource attributes.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program's name: `gateway`, `router`, `standalone`.
    pub name: &'static str,
    /// The name of this instance, such as the node's name.
    pub instance: String,
}

impl Program {
    /// A program and the name of this instance.
    pub fn new(name: &'static str, instance: impl Into<String>) -> Self {
        Self { name, instance: instance.into() }
    }

    /// An instance named by the machine's host name and the port that it
    /// listens on.
    pub fn on_port(name: &'static str, port: u16) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // Port 0 means any free port, so it names nothing: the process id does.
        let number = if port == 0 { std::process::id() } else { port.into() };
        Self::new(name, format!("{}:{number}", host.trim()))
    }
}

/// The running telemetry of a process.
#[derive(Debug, Clone)]
pub struct Telemetry {
    registry: Registry,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
    loggers: Option<SdkLoggerProvider>,
}

/// Starts telemetry; called once in a process, inside its runtime and before
/// the first instrument is made. Fails when an exporter cannot be built.
pub fn start(program: &Program, settings: &Settings, headers: &Headers) -> anyhow::Result<Telemetry> {
    let resource = resource(program);
    let registry = Registry::new();
    let prometheus = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .build()
        .context("the prometheus exporter did not start")?;
    let mut meters = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(prometheus);
    if let Some(protocol) = settings.metrics {
        meters = meters.with_periodic_exporter(otlp::metrics(protocol, headers)?);
    }
    let meters = meters.build();
    opentelemetry::global::set_meter_provider(meters.clone());
    process::observe(&Handle::current());

    let tracers = match settings.traces {
        None => None,
        Some(protocol) => {
            let tracers = SdkTracerProvider::builder()
                .with_resource(resource.clone())
                // `trace` samples before it makes a span, so all spans here are
                // kept.
                .with_sampler(Sampler::AlwaysOn)
                .with_id_generator(trace::Ids::default())
                .with_batch_exporter(otlp::spans(protocol, headers)?)
                .build();
            trace::start(&tracers, settings);
            Some(tracers)
        }
    };
    let loggers = match settings.logs {
        None => None,
        Some(protocol) => {
            let loggers = SdkLoggerProvider::builder().with_resource(resource);
            Some(loggers.with_batch_exporter(otlp::logs(protocol, headers)?).build())
        }
    };
    Ok(Telemetry { registry, meters, tracers, loggers })
}

/// The resource attributes: those of `OTEL_SERVICE_NAME` and
/// `OTEL_RESOURCE_ATTRIBUTES`, and ours where these say nothing.
fn resource(program: &Program) -> Resource {
    let given = Resource::builder().build();
    let ours = [
        ("service.name", format!("switchboard-{}", program.name)),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", program.instance.clone()),
    ];
    let said = |name: &str| {
        let value = given.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value.to_string());
        value.is_some_and(|value| !value.is_empty() && !value.starts_with("unknown_service"))
    };
    let missing =
        ours.into_iter().filter(|(name, _)| !said(name)).map(|(name, value)| KeyValue::new(name, value));
    Resource::builder().with_attributes(missing.collect::<Vec<_>>()).build()
}

impl Telemetry {
    /// All metrics as Prometheus text. Fails when they cannot be encoded.
    pub fn prometheus_text(&self) -> anyhow::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).context("metrics could not be written")
    }

    pub(crate) fn loggers(&self) -> Option<&SdkLoggerProvider> {
        self.loggers.as_ref()
    }

    /// Exports what is left, and ends. Takes `within` at most: an unreachable
    /// collector does not keep the process alive. Call it from outside the
    /// runtime, while the runtime is alive.
    pub fn stop(&self, within: Duration) {
        let (done, ended) = sync_channel(1);
        let this = self.clone();
        // A thread of its own, since the libraries may wait for longer than
        // `within`.
        let stopping = std::thread::Builder::new().name("telemetry-stop".into()).spawn(move || {
            trace::stop();
            let traces = this.tracers.map(|tracers| tracers.shutdown_with_timeout(within));
            let metrics = this.meters.shutdown();
            let logs = this.loggers.map(|loggers| loggers.shutdown_with_timeout(within));
            let failed = [traces, Some(metrics), logs].into_iter().flatten().find_map(Result::err);
            // After a timeout nobody receives this.
            let _ = done.send(failed);
        });
        let failed = match stopping {
            Err(error) => Some(error.to_string()),
            Ok(_) => match ended.recv_timeout(within) {
                Ok(failed) => failed.map(|error| error.to_string()),
                Err(_) => Some("no end in time".to_owned()),
            },
        };
        if let Some(error) = failed {
            tracing::debug!(error, "not all telemetry was handed over");
        }
    }
}
