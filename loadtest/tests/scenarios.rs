//! Every scenario on a small real cluster: each keeps its promises, counts
//! what it delivered, and can be shown as a report.

use std::time::Duration;

use anyhow::Result;
use loadtest::client::Transport;
use loadtest::report;
use loadtest::summary::Summary;
use loadtest::versus::{self, Running};
use loadtest::workload::{self, Mix, Settings};
use testbed::{Binaries, Profile};

fn settings() -> Settings {
    Settings {
        users: 12,
        rate: 60.0,
        closed: false,
        duration: Duration::from_millis(1500),
        warmup: Duration::from_millis(300),
        body: 128,
        transports: Mix::only(Transport::WebSocket),
        seed: 7,
        members: 4,
        publishers: 2,
        backlog: 40,
    }
}

async fn cluster() -> Result<Running> {
    let binaries = tokio::task::spawn_blocking(|| Binaries::build(Profile::Debug)).await??;
    versus::switchboard(&binaries, 2, 1).await
}

fn is_sound(summary: &Summary) {
    assert!(summary.is_clean(), "{summary}");
    assert!(report::html(summary).is_ok_and(|page| page.contains("Every promise was kept")));
    assert!(serde_json::to_string(summary).is_ok());
}

fn delivered(summary: &Summary) -> u64 {
    is_sound(summary);
    summary.messages.as_ref().map_or(0, |messages| messages.delivered)
}

// One cluster for the scenarios that only send: they do not disturb each other.
#[tokio::test]
async fn messages_of_every_scenario_arrive_once_and_in_order() {
    let cluster = cluster().await.unwrap();
    let servers = &cluster.servers;
    let settings = settings();
    assert!(delivered(&workload::direct::run(servers, &settings).await.unwrap()) > 0);
    assert!(delivered(&workload::groups::run(servers, &settings).await.unwrap()) > 0);
    assert!(delivered(&workload::slow::run(servers, &settings).await.unwrap()) > 0);
    assert!(delivered(&workload::mixed::run(servers, &settings).await.unwrap()) > 0);
    assert!(delivered(&workload::room::run(servers, &settings).await.unwrap()) > 0);
}

/// Servers that run already and whose processes nobody has named.
#[tokio::test]
async fn what_was_not_measured_is_said_to_be_so_and_is_no_zero() {
    let cluster = cluster().await.unwrap();
    let servers = workload::Servers { processes: Vec::new(), ..cluster.servers.clone() };
    for summary in [
        workload::direct::run(&servers, &settings()).await.unwrap(),
        workload::idle::run(&servers, &settings()).await.unwrap(),
        workload::storm::run(&servers, &settings()).await.unwrap(),
    ] {
        let text = summary.to_string();
        let json = serde_json::to_value(&summary).unwrap();
        assert!(
            text.contains("not measured") && !text.contains(" 0.0 µs") && !text.contains(" 0 µs"),
            "{text}"
        );
        for absent in ["/cpu/servers", "/cpu/gateways", "/memory/gateway_bytes", "/returns/cpu_per_user"] {
            assert_eq!(json.pointer(absent), None, "{absent}");
        }
    }
}

#[tokio::test]
async fn users_on_a_mix_of_transports_hear_one_another() {
    let cluster = cluster().await.unwrap();
    let transports =
        "websocket=2,sse,poll,stream,websocket-protobuf,socketio-websocket,socketio-polling".parse().unwrap();
    let settings = Settings { transports, ..settings() };
    assert!(delivered(&workload::direct::run(&cluster.servers, &settings).await.unwrap()) > 0);
    assert!(delivered(&workload::mixed::run(&cluster.servers, &settings).await.unwrap()) > 0);
    assert!(delivered(&workload::room::run(&cluster.servers, &settings).await.unwrap()) > 0);
}

#[tokio::test]
async fn nothing_is_lost_for_those_who_never_stay() {
    let cluster = cluster().await.unwrap();
    let transports = "websocket=2,websocket-protobuf,sse,stream,iframe,long-poll,short-poll".parse().unwrap();
    let settings = Settings { transports, duration: Duration::from_secs(3), ..settings() };
    let summary = workload::restless::run(&cluster.servers, &settings).await.unwrap();
    assert!(delivered(&summary) > 0);
    assert!(summary.messages.unwrap().reconnects > 12);
}

#[tokio::test]
async fn in_a_closed_loop_nobody_has_two_messages_in_flight() {
    let cluster = cluster().await.unwrap();
    let settings = Settings { closed: true, users: 4, ..settings() };
    let summary = workload::direct::run(&cluster.servers, &settings).await.unwrap();
    assert!(delivered(&summary) > 0);
    // Little's law: as many in flight as rate times time, and never more than
    // there are users.
    let messages = summary.messages.as_ref().unwrap();
    let seconds = summary.latency.as_ref().unwrap().p50 / 1000.0;
    assert!(messages.delivered_rate * seconds <= 4.0 * 1.5, "{summary}");
}

#[tokio::test]
async fn whoever_was_away_comes_back_to_everything() {
    let cluster = cluster().await.unwrap();
    for summary in [
        workload::storm::run(&cluster.servers, &settings()).await.unwrap(),
        workload::catchup::run(&cluster.servers, &settings()).await.unwrap(),
    ] {
        is_sound(&summary);
        let returns = summary.returns.as_ref().unwrap();
        assert_eq!(returns.users, 12);
        assert!(returns.back.max > 0.0 && returns.caught_up.max >= returns.back.p50, "{summary}");
        assert_eq!((returns.backlog, returns.retries), (40, 0));
        assert_eq!(summary.messages.as_ref().unwrap().sent, 12 * returns.backlog);
        assert!(summary.redis.is_some(), "the longest call of the Redis that was started");
    }
}

#[tokio::test]
async fn idle_connections_are_weighed() {
    let cluster = cluster().await.unwrap();
    let settings = Settings { users: 40, duration: Duration::from_millis(300), ..settings() };
    let summary = workload::idle::run(&cluster.servers, &settings).await.unwrap();
    is_sound(&summary);
    assert!(summary.memory.unwrap().gateways_total.unwrap() > 0);
}

#[test]
fn more_users_than_open_files_are_refused_before_anything_starts() {
    for flags in [
        "run --scenario idle --users 200 --spawn gateways=1,routers=1",
        "measure --share 0.01",
        "versus --idle 200 --storm 200",
        "overload --returning 200",
    ] {
        let limited = format!("ulimit -n 300 && exec \"$0\" {flags} --binaries .");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_loadtest")]);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{flags}");
        assert!(error.contains("open files, and a process here has 300"), "{error}");
    }
}
