//! The admin server over a real socket.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daemon::healthcheck::Healthcheck;
use daemon::metric::Counter;
use daemon::settings::Settings;
use daemon::{Program, admin, telemetry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

static TESTS: Counter = Counter::new("switchboard.tests", "{test}", "of this test", &[]);

const DEADLINE: Duration = Duration::from_secs(20);

/// The result of `healthcheck` for the process at this address.
async fn healthcheck(admin_listen: SocketAddr) -> Result<(), String> {
    let asking = Healthcheck { admin_listen, timeout: DEADLINE };
    tokio::task::spawn_blocking(move || asking.ask()).await.unwrap()
}

/// Sends a request and reads until the server closes the connection.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("no answer").unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn the_admin_server_says_how_the_process_is() {
    let telemetry =
        telemetry::start(&Program::new("test", "one"), &Settings::NONE, &Default::default()).unwrap();
    TESTS.add(&[], 3);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let is_ready = Arc::new(AtomicBool::new(false));
    let asked = is_ready.clone();
    let ready = admin::ready(move || {
        let ready = asked.load(Ordering::Relaxed);
        async move {
            if ready { Ok(vec!["and full".into()]) } else { Err(vec!["no store".into(), "no router".into()]) }
        }
    });
    let stop = CancellationToken::new();
    let mut server = JoinSet::new();
    server.spawn(admin::serve(listener, ready, telemetry, stop.clone()));

    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let answer = get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("no store\nno router\n"), "{answer}");
    assert_eq!(healthcheck(address).await, Err("no store; no router".to_owned()));
    is_ready.store(true, Ordering::Relaxed);
    assert_eq!(healthcheck(address).await, Ok(()));
    let answer = get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\nand full\n"), "{answer}");
    let metrics = get(address, "/metrics").await;
    for line in [
        "switchboard_tests_total{",
        "service_name=\"switchboard-test\"",
        "service_instance_id=\"one\"",
        "process_memory_usage_bytes{",
        "cpu_mode=\"user\"",
        "switchboard_runtime_tasks{",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));

    // A header that never ends holds its connection for a limited time only.
    exchange(address, "GET /healthz HTTP/1.1\r\nhost: adm").await;

    stop.cancel();
    tokio::time::timeout(DEADLINE, server.join_next()).await.expect("it goes on").unwrap().unwrap();
    let gone = healthcheck(address).await.unwrap_err();
    assert!(gone.contains("(--admin-listen) does not answer: "), "{gone}");
}
