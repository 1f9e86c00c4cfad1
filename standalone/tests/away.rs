//! A store that cannot be reached: standalone does not say that it runs, and
//! ends with the reason.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

use std::path::Path;
use std::time::Duration;

use testbed::{Process, RedisServer, port};

/// What it says before it ends by itself.
async fn says(store: &str) -> String {
    let secret = "0123456789abcdef0123456789abcdef";
    let arguments = [
        "--listen",
        &format!("127.0.0.1:{}", port::free()),
        "--admin-listen",
        &format!("127.0.0.1:{}", port::free()),
        "--jwt-secret",
        secret,
        "--store",
        store,
    ];
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_standalone"));
    let mut process = Process::spawn("standalone", program, &arguments).unwrap();
    let status = process.ended(Duration::from_secs(60)).await.unwrap();
    assert!(!status.success());
    let output = process.output();
    assert!(!output.contains("standalone listens"), "{output}");
    output
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let output = says(&format!("redis://127.0.0.1:{}", port::free())).await;
    assert!(output.contains("nobody listens there"), "{output}");
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let server = RedisServer::start().await.unwrap();
    server.command(&["CONFIG", "SET", "requirepass", "the-right-one"]).await.unwrap().ok().unwrap();
    let output = says(&server.url().replace("redis://", "redis://:the-wrong-one@")).await;
    assert!(output.contains("it rejects the user or password"), "{output}");
    assert!(!output.contains("the-wrong-one"), "{output}");
}

#[tokio::test]
async fn a_name_that_is_not_known_is_named() {
    let output = says("redis://no-such-host.invalid:6379").await;
    assert!(output.contains("its host name cannot be resolved"), "{output}");
}
