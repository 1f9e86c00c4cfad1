//! Gateways and standalone listen for clients when they can serve them: whoever
//! gets a connection gets an answer, and a balancer that is refused one takes
//! another node.

use std::path::PathBuf;

use testbed::{Binaries, Process, Profile, RedisServer, port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::DEADLINE;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Requests after the first that was served.
const AFTER: usize = 20;

fn arguments(more: &[String]) -> Vec<String> {
    let secret = format!("--jwt-secret={SECRET}");
    [secret].into_iter().chain(more.iter().cloned()).collect()
}

fn start(program: PathBuf, more: &[String]) -> Process {
    Process::spawn("the program", &program, &arguments(more)).unwrap()
}

fn listen(flag: &str, port: u16) -> String {
    format!("--{flag}=localhost:{port}")
}

/// The status of an answer; nothing when nobody listens.
async fn ask(port: u16, token: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!(
        "POST /v1/tickets HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    Some(answer.split(' ').nth(1).unwrap().parse().unwrap())
}

fn token() -> String {
    let output = std::process::Command::new(Binaries::build(Profile::Debug).unwrap().gateway())
        .args(["token", "--user=alice", &format!("--jwt-secret={SECRET}")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Asks again and again from before it listens: no answer may be a refusal.
async fn served_from_the_first(port: u16) {
    let token = token();
    let served = async {
        let mut served = 0;
        while served < AFTER {
            match ask(port, &token).await {
                None => assert_eq!(served, 0, "it has stopped to listen"),
                Some(status) => {
                    assert_eq!(status, 200, "answer {served} after it began to listen");
                    served += 1;
                }
            }
        }
    };
    timeout(DEADLINE, served).await.expect("it begins to listen");
}

#[tokio::test]
async fn a_gateway_listens_when_it_can_serve_and_not_before() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let redis = RedisServer::start().await.unwrap();
    let (clients, admin, router) = (port::free(), port::free(), port::free());
    let store = format!("--store={}", redis.url());
    let mut gateway = start(
        binaries.gateway(),
        &[
            listen("listen", clients),
            listen("admin-listen", admin),
            format!("--router=http://127.0.0.1:{router}"),
            store.clone(),
        ],
    );
    // It runs and says why it does not serve, but no client gets a connection.
    gateway.ready(&format!("http://127.0.0.1:{admin}/healthz"), DEADLINE).await.unwrap();
    testbed::wait::until_true(DEADLINE, "it says why", async || {
        gateway.output().contains("no router can be reached")
    })
    .await
    .unwrap();
    assert_eq!(ask(clients, "").await, None);
    let served = served_from_the_first(clients);
    let _router = Process::spawn(
        "router",
        &binaries.router(),
        &[listen("listen", router), listen("admin-listen", port::free()), store],
    )
    .unwrap();
    served.await;
}

#[tokio::test]
async fn standalone_serves_whoever_gets_a_connection() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let (clients, admin) = (port::free(), port::free());
    let folder = tempfile::tempdir().unwrap();
    let _standalone = start(
        binaries.standalone(),
        &[
            listen("listen", clients),
            listen("admin-listen", admin),
            format!("--store=embedded:{}", folder.path().join("data").display()),
        ],
    );
    served_from_the_first(clients).await;
}

#[tokio::test]
async fn a_gateway_that_is_told_to_stop_before_it_listens_stops() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let admin = port::free();
    let mut gateway = start(
        binaries.gateway(),
        &[
            listen("listen", port::free()),
            listen("admin-listen", admin),
            format!("--router=http://127.0.0.1:{}", port::free()),
            "--store=redis://127.0.0.1:1".to_owned(),
        ],
    );
    gateway.ready(&format!("http://127.0.0.1:{admin}/healthz"), DEADLINE).await.unwrap();
    gateway.terminate().unwrap();
    assert!(gateway.ended(DEADLINE).await.unwrap().success());
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_at_once() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut gateway = start(
        binaries.gateway(),
        &[
            listen("listen", taken.local_addr().unwrap().port()),
            listen("admin-listen", port::free()),
            "--router=http://127.0.0.1:1".to_owned(),
            "--store=redis://127.0.0.1:1".to_owned(),
        ],
    );
    assert!(!gateway.ended(DEADLINE).await.unwrap().success());
    assert!(gateway.output().contains("--listen: cannot listen on 127.0.0.1:"), "{}", gateway.output());
}
