//! What a cluster says of itself, by OTLP to a collector of this test: traces
//! that follow one message, metrics, logs; and nothing where nothing is wanted.

mod collector;
mod exposition;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use cluster_tests::{Builder, Cluster, PATIENCE, StoreKind};
use loadtest::client::http::Http;
use rstest::rstest;
use serde_json::json;
use testbed::wait;
use tokio::time::timeout;

use collector::{Collected, Collector, Made};

/// Nothing else says this.
const BODY: &str = "a body that is nobody's business";

/// A cluster that exports everything to the collector, soon.
fn exporting(collector: &Collector) -> Builder {
    Cluster::builder()
        .routers(1)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .variable("OTEL_BSP_SCHEDULE_DELAY", "100")
        .variable("OTEL_BLRP_SCHEDULE_DELAY", "100")
        .variable("OTEL_METRIC_EXPORT_INTERVAL", "200")
}

/// Alice on the first node writes to Bob on the second, who gets it.
async fn one_message(cluster: &Cluster) -> Result<()> {
    let mut bob = cluster.connect("bob", "phone", 1).await?;
    let mut alice = cluster.connect("alice", "phone", 0).await?;
    alice.send("bob", json!(BODY), "m-1").await?;
    let event = timeout(PATIENCE, bob.next_event()).await??;
    assert_eq!(event.kind(), "message");
    bob.close().await;
    alice.close().await;
    Ok(())
}

/// The spans of the trace of the one `send`, once all that are expected are
/// there.
async fn trace_of_send(collected: &Collected) -> Result<Vec<Made>> {
    let expected: BTreeSet<(&str, &str, &str)> = [
        ("switchboard-gateway", "gw-0", "send"),
        ("switchboard-gateway", "gw-0", "switchboard.v1.Router/Link"),
        ("switchboard-router", "", "switchboard.v1.Router/Link"),
        ("switchboard-router", "", "post"),
        ("switchboard-gateway", "gw-1", "deliver"),
    ]
    .into();
    let find = async || {
        let spans = collected.spans();
        let id = spans.iter().find(|made| made.span.name == "send")?.span.trace_id.clone();
        let trace: Vec<Made> = spans.into_iter().filter(|made| made.span.trace_id == id).collect();
        let names: BTreeSet<(&str, &str, &str)> = trace
            .iter()
            .map(|made| {
                let instance = if made.service.ends_with("router") { "" } else { made.instance.as_str() };
                (made.service.as_str(), instance, made.span.name.as_str())
            })
            .collect();
        expected.is_subset(&names).then_some(trace)
    };
    let found = wait::until(PATIENCE, "the trace of the message", find).await;
    found.with_context(|| format!("{:#?}", collected.spans()))
}

fn named<'a>(trace: &'a [Made], service: &str, name: &str) -> &'a Made {
    trace
        .iter()
        .find(|made| made.service.ends_with(service) && made.span.name == name)
        .expect("it was waited for")
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn a_trace_follows_one_message_from_node_to_node(#[case] store: StoreKind) -> Result<()> {
    let collector = Collector::start().await?;
    let cluster = exporting(&collector).store(store).start().await?;
    one_message(&cluster).await?;
    let trace = trace_of_send(&collector.collected).await?;

    let send = named(&trace, "gateway", "send");
    let asked = named(&trace, "gateway", "switchboard.v1.Router/Link");
    let served = named(&trace, "router", "switchboard.v1.Router/Link");
    let stored = named(&trace, "router", "post");
    let delivered = named(&trace, "gateway", "deliver");
    assert!(send.span.parent_span_id.is_empty());
    assert_eq!(asked.span.parent_span_id, send.span.span_id);
    assert_eq!(served.span.parent_span_id, asked.span.span_id);
    assert_eq!(stored.span.parent_span_id, served.span.span_id);
    assert_eq!(delivered.span.parent_span_id, served.span.span_id);
    assert_eq!(delivered.span.links[0].span_id, served.span.span_id);
    assert_eq!(delivered.attribute("switchboard.fanout").as_deref(), Some("1"));
    assert_eq!(delivered.attribute("messaging.destination.name").as_deref(), Some("alice~bob"));
    assert_eq!(send.attribute("messaging.message.id").as_deref(), Some("1"));

    // What a caller's request belongs to goes on.
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = http_send(&cluster, parent).await?;
    assert_eq!(answer, 200);
    let found = wait::until(PATIENCE, "the caller's trace", async || {
        let spans = collector.collected.spans();
        let of = spans.into_iter().find(|made| made.span.name == "POST /v1/messages")?;
        (!of.span.parent_span_id.is_empty()).then_some(of)
    })
    .await?;
    assert_eq!(hex(&found.span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&found.span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(found.attribute("http.response.status_code").as_deref(), Some("200"));
    Ok(())
}

#[tokio::test]
async fn metrics_and_logs_arrive_and_nothing_secret_in_any_of_it() -> Result<()> {
    let collector = Collector::start().await?;
    let cluster = exporting(&collector)
        .gateway_flags("--log debug,h2=off,hyper=off,tonic=off,tower=off --log-format json")
        .router_flags("--log debug,h2=off,hyper=off,tonic=off,tower=off")
        .start()
        .await?;
    one_message(&cluster).await?;
    trace_of_send(&collector.collected).await?;
    let wanted = [
        "switchboard.gateway.connections",
        "switchboard.gateway.commands",
        "switchboard.gateway.delivery.duration",
        "switchboard.router.batch.size",
        "switchboard.store.duration",
        "process.memory.usage",
    ];
    wait::until_true(PATIENCE, "metrics arrive", async || {
        let metrics = collector.collected.metrics();
        wanted.iter().all(|name| metrics.iter().any(|metric| metric == name))
    })
    .await?;
    wait::until_true(PATIENCE, "logs arrive", async || !collector.collected.logs().is_empty()).await?;
    let text = collector.collected.text();
    // Every token begins like that: it is the start of a JSON object in Base64.
    for secret in [BODY, "eyJ", "load tests and cluster tests only"] {
        assert!(!text.contains(secret), "telemetry says {secret:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_sampled_leaves_no_span() -> Result<()> {
    let collector = Collector::start().await?;
    let cluster = exporting(&collector)
        .variable("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .variable("OTEL_TRACES_SAMPLER_ARG", "0")
        .start()
        .await?;
    one_message(&cluster).await?;
    // A caller's choice counts: so what is kept arrives after what is not.
    let unwanted = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    assert_eq!(http_send(&cluster, unwanted).await?, 200);
    let wanted = "00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(http_send(&cluster, wanted).await?, 200);
    wait::until_true(PATIENCE, "the caller's trace", async || {
        let made: BTreeSet<_> = collector.collected.spans().into_iter().map(|made| made.service).collect();
        made.len() == 2
    })
    .await?;
    let traces: BTreeSet<_> =
        collector.collected.spans().into_iter().map(|made| hex(&made.span.trace_id)).collect();
    assert_eq!(traces, ["2af7651916cd43dd8448eb211c80319c".to_owned()].into());
    Ok(())
}

#[tokio::test]
async fn a_disabled_sdk_exports_nothing() -> Result<()> {
    let collector = Collector::start().await?;
    let mut cluster = exporting(&collector).variable("OTEL_SDK_DISABLED", "true").start().await?;
    one_message(&cluster).await?;
    // What was to leave would have left by the end.
    for gateway in 0..2 {
        let process = cluster.gateway_node(gateway).process()?;
        process.terminate()?;
        process.ended(PATIENCE).await?;
    }
    assert!(collector.collected.is_empty(), "{}", collector.collected.text());
    Ok(())
}

#[tokio::test]
async fn what_is_left_is_handed_over_at_the_end_whether_or_not_there_is_a_collector() -> Result<()> {
    let collector = Collector::start().await?;
    let slow = |builder: Builder| {
        builder
            .variable("OTEL_BSP_SCHEDULE_DELAY", "600000")
            .variable("OTEL_METRIC_EXPORT_INTERVAL", "600000")
    };
    let mut cluster = slow(exporting(&collector)).start().await?;
    one_message(&cluster).await?;
    for gateway in 0..2 {
        let process = cluster.gateway_node(gateway).process()?;
        process.terminate()?;
        assert!(process.ended(PATIENCE).await?.success());
    }
    let spans = collector.collected.spans();
    assert!(spans.iter().any(|made| made.span.name == "deliver"), "{spans:?}");
    assert!(!collector.collected.metrics().is_empty());

    let nobody = format!("http://127.0.0.1:{}", testbed::port::free());
    let mut cluster = Cluster::builder()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &nobody)
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .start()
        .await?;
    one_message(&cluster).await?;
    let process = cluster.gateway_node(0).process()?;
    process.terminate()?;
    assert!(process.ended(PATIENCE).await?.success());
    Ok(())
}

/// Alice writes to Bob over HTTP, as a part of this trace; the status.
async fn http_send(cluster: &Cluster, traceparent: &str) -> Result<u16> {
    let mut http = Http::new(&cluster.account("alice", "phone", 0))?;
    let body = json!({"to": "bob", "body": BODY});
    let headers = [("traceparent", traceparent)];
    Ok(http.request_with(http::Method::POST, "/v1/messages", Some(&body), &headers).await?.status)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
