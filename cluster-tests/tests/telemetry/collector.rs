//! A collector: it takes OTLP over gRPC and keeps all of it.

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What has arrived; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Collected(Arc<Mutex<Arrived>>);

#[derive(Default)]
struct Arrived {
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    logs: Vec<ExportLogsServiceRequest>,
}

/// A running collector; ends when it is dropped.
pub(crate) struct Collector {
    pub(crate) url: String,
    pub(crate) collected: Collected,
    _stop: DropGuard,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (collected, stop) = (Collected::default(), CancellationToken::new());
        let server = Server::builder()
            .add_service(TraceServiceServer::new(collected.clone()))
            .add_service(MetricsServiceServer::new(collected.clone()))
            .add_service(LogsServiceServer::new(collected.clone()))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.clone().cancelled_owned());
        TaskTracker::new().spawn(server);
        Ok(Self { url, collected, _stop: stop.drop_guard() })
    }
}

/// A span and who made it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) span: Span,
}

impl Made {
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        text(&self.span.attributes, name)
    }
}

impl Collected {
    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Made> {
        let arrived = self.arrived();
        let resources = arrived.traces.iter().flat_map(|request| &request.resource_spans);
        let spans = resources.flat_map(|resource| {
            let attributes = resource.resource.clone().unwrap_or_default().attributes;
            let said = move |name: &str| text(&attributes, name).unwrap_or_default();
            let (service, instance) = (said("service.name"), said("service.instance.id"));
            let spans = resource.scope_spans.iter().flat_map(|scope| scope.spans.clone());
            spans.map(move |span| Made { service: service.clone(), instance: instance.clone(), span })
        });
        spans.collect()
    }

    /// The names of all metrics so far.
    pub(crate) fn metrics(&self) -> Vec<String> {
        let arrived = self.arrived();
        let resources = arrived.metrics.iter().flat_map(|request| &request.resource_metrics);
        let scopes = resources.flat_map(|resource| &resource.scope_metrics);
        scopes.flat_map(|scope| &scope.metrics).map(|metric| metric.name.clone()).collect()
    }

    /// Every log record so far.
    pub(crate) fn logs(&self) -> Vec<LogRecord> {
        let arrived = self.arrived();
        let resources = arrived.logs.iter().flat_map(|request| &request.resource_logs);
        let scopes = resources.flat_map(|resource| &resource.scope_logs);
        scopes.flat_map(|scope| scope.log_records.clone()).collect()
    }

    /// Everything as text, to look for what must not be there.
    pub(crate) fn text(&self) -> String {
        let arrived = self.arrived();
        format!("{:?} {:?} {:?}", arrived.traces, arrived.metrics, arrived.logs)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let arrived = self.arrived();
        arrived.traces.is_empty() && arrived.metrics.is_empty() && arrived.logs.is_empty()
    }

    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().expect("no code that holds this lock panics")
    }
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

#[tonic::async_trait]
impl TraceService for Collected {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.arrived().traces.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collected {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.arrived().metrics.push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collected {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.arrived().logs.push(request.into_inner());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
