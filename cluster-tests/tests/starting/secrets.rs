//! No secret is ever printed: not by help, not at start, not when something
//! fails, at whatever level is logged. Every secret here has a word in it that
//! nothing else has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testbed::{Binaries, Process, Profile, RedisServer, port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::DEADLINE;

/// In every secret, also in those of this length.
const WORD: &str = "hidden";
const SECRET: &str = "hidden-0123456789abcdef0123456789abcdef";

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1";

/// Variables that each hold a secret; `peer` is who is asked for keys, told of
/// messages, and given telemetry.
fn environment(store: &str, peer: &str) -> Vec<(String, String)> {
    [
        ("SWITCHBOARD_STORE", store.to_owned()),
        ("SWITCHBOARD_JWT_SECRET", SECRET.to_owned()),
        ("SWITCHBOARD_JWKS_URL", format!("http://hidden:hidden@{peer}/hidden?key=hidden")),
        ("SWITCHBOARD_WEBHOOK_URL", format!("http://{peer}/hidden?key=hidden")),
        ("SWITCHBOARD_WEBHOOK_SECRET", SECRET.to_owned()),
        ("SWITCHBOARD_JWT_SECERT", SECRET.to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://hidden:hidden@{peer}/hidden?key=hidden")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hidden".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
        ("OTEL_BLRP_SCHEDULE_DELAY", "100".to_owned()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100".to_owned()),
        ("SWITCHBOARD_LOG", "debug".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The same secrets, each in a file that a variable names.
fn in_files(environment: Vec<(String, String)>, folder: &Path) -> Vec<(String, String)> {
    const SECRETS: [&str; 6] =
        ["STORE", "JWT_SECRET", "JWKS_URL", "WEBHOOK_URL", "WEBHOOK_SECRET", "OTLP_HEADERS"];
    let file = |(name, value): (String, String)| {
        let flag = name.trim_start_matches("SWITCHBOARD_").trim_start_matches("OTEL_EXPORTER_").to_owned();
        if !SECRETS.contains(&flag.as_str()) {
            return (name, value);
        }
        let path = folder.join(&flag);
        std::fs::write(&path, value + "\n").unwrap();
        (format!("SWITCHBOARD_{flag}_FILE"), path.display().to_string())
    };
    let inside: Vec<_> = environment.into_iter().map(file).collect();
    let named = inside.iter().filter(|(name, _)| name.ends_with("_FILE")).count();
    assert_eq!(named, SECRETS.len(), "{inside:?}");
    inside
}

fn programs() -> [(&'static str, PathBuf); 3] {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    [("gateway", binaries.gateway()), ("router", binaries.router()), ("standalone", binaries.standalone())]
}

fn assert_none(what: &str, text: &str) {
    let found = text.lines().filter(|line| line.contains(WORD));
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// All that a program says that ends by itself.
fn said(program: &Path, arguments: &[&str], environment: &[(String, String)]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn help_shows_no_secret_of_the_environment() {
    let environment = environment("redis://hidden:hidden@127.0.0.1:1/0?key=hidden", NOBODY);
    for (name, program) in programs() {
        for arguments in [
            &["--help"][..],
            &["-h"],
            &["serve", "--help"],
            &["check", "--help"],
            &["token", "--help"],
            &["check-token", "-h"],
            &["healthcheck", "--help"],
        ] {
            let said = said(&program, arguments, &environment);
            assert_none(&format!("{name} {arguments:?}"), &said);
            let known = name != "router" || !matches!(arguments[0], "serve" | "token" | "check-token");
            assert!(!known || said.contains("Usage"), "{name} {arguments:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_check_shows_no_secret() {
    let (somebody, _server) = answering().await;
    for (store, peer) in [
        ("redis://hidden:hidden@127.0.0.1:1/0?key=hidden", NOBODY),
        ("redis-sentinel://hidden:hidden@127.0.0.1:1?service=hidden", &somebody),
        ("redis://hidden:hidden@no.such.host.invalid", "no.such.host.invalid"),
    ] {
        let environment = environment(store, peer);
        for (name, program) in programs() {
            let environment = environment.clone();
            let router = format!("--router=http://{NOBODY}");
            let ask = move || {
                let flags: &[&str] = match name {
                    "gateway" => &["check", &router],
                    _ => &["check", "--listen=127.0.0.1:0"],
                };
                said(&program, flags, &environment)
            };
            let said = tokio::task::spawn_blocking(ask).await.unwrap();
            assert_none(&format!("{name} check of {peer}"), &said);
            assert!(said.contains("fail  --store"), "{name}: {said}");
            assert!(said.contains("is SWITCHBOARD_JWT_SECRET (--jwt-secret) meant"), "{name}: {said}");
        }
    }
}

#[test]
fn a_wrong_value_with_a_secret_is_not_quoted() {
    let good = environment("redis://127.0.0.1:1", NOBODY);
    let token = ["token", "--user=alice", "--ttl=0s"];
    for (name, program) in programs() {
        for wrong in [
            &["--store=redis://hidden:hidden@host:hidden"][..],
            &["--store=hidden://hidden:hidden@host"],
            &["--store=redis-sentinel://hidden:hidden@host?key=hidden"],
            &["--store=redis://hidden:hidden@host?steps=hidden"],
            &["--webhook-url=ftp://hidden:hidden@host/hidden"],
            &["--webhook-url=http://hidden:hidden@host/hidden"],
            &["--webhook-secret=hidden"],
            &["--jwks-url=ftp://hidden:hidden@host"],
            &["--jwks-url=hidden"],
            &["--jwt-secret=hidden"],
            &["--router=http://hidden:hidden@host"],
            &["--router=hidden"],
            &token,
        ] {
            // A port that is taken ends those whose flags are right.
            let listen = [
                wrong,
                if wrong == token { &[] } else { &["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:1"] },
            ]
            .concat();
            let said = said(&program, &listen, &good);
            assert_none(&format!("{name} {wrong:?}"), &said);
            assert!(!said.is_empty(), "{name} {wrong:?}");
        }
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_by_what_works_and_what_fails() {
    let redis = RedisServer::start().await.unwrap();
    redis.command(&["ACL", "SETUSER", "hidden", "on", ">hidden-word", "~*", "&*", "+@all"]).await.unwrap();
    let (somebody, _server) = answering().await;
    let host = redis.url().trim_start_matches("redis://").to_owned();
    let folder = tempfile::tempdir().unwrap();
    for (works, files, store) in [
        (true, false, format!("redis://hidden:hidden-word@{host}")),
        (true, true, format!("redis://hidden:hidden-word@{host}")),
        // A user that is none, and nobody there.
        (false, false, format!("redis://hidden:hidden-other@{host}")),
        (false, true, "redis://hidden:hidden-word@127.0.0.1:1/3".to_owned()),
    ] {
        let environment = environment(&store, if works { &somebody } else { NOBODY });
        let environment = if files { in_files(environment, folder.path()) } else { environment };
        let router_port = port::free();
        let mut running = Vec::new();
        for (name, program) in programs() {
            let (listen, admin) = (port::free(), port::free());
            let listen = if name == "router" { router_port } else { listen };
            let mut arguments =
                vec![format!("--listen=127.0.0.1:{listen}"), format!("--admin-listen=127.0.0.1:{admin}")];
            if name == "gateway" {
                arguments.push(format!("--router=http://127.0.0.1:{router_port}"));
            }
            let process = Process::spawn_with(name, &program, &arguments, &environment).unwrap();
            running.push((name, listen, admin, process));
        }
        for (name, listen, admin, process) in &mut running {
            // Without its store a process has an admin server and no more.
            let path = if works { "readyz" } else { "healthz" };
            process.ready(&format!("http://127.0.0.1:{admin}/{path}"), DEADLINE).await.unwrap();
            if works && *name != "router" {
                refusals(*listen).await;
            }
            assert_none(&format!("{name}'s metrics"), &metrics(*admin).await);
            let expected = if works { "refused a credential" } else { "cannot fetch the key set" };
            if *name != "router" {
                testbed::wait::until(DEADLINE, "it says what happens", async || {
                    process.output().contains(expected).then_some(())
                })
                .await
                .unwrap();
            }
        }
        for (name, _, _, process) in &mut running {
            // Standalone may have given up on its store, and ended, by itself.
            let _ = process.terminate();
            let _ = process.ended(DEADLINE).await.unwrap();
            assert_none(name, &process.output());
        }
        let misspelt =
            "SWITCHBOARD_JWT_SECERT is set, and no flag has this variable: is SWITCHBOARD_JWT_SECRET";
        assert!(running.iter().all(|(.., process)| process.output().contains(misspelt)));
        for (name, .., process) in &running {
            let output = process.output();
            assert_eq!(*name != "router", output.contains("without --jwt-audience"), "{name}: {output}");
        }
    }
}

async fn metrics(admin: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", admin)).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.") && answer.contains("# TYPE"), "{answer}");
    answer
}

/// Somebody who answers every request, and never with what it wants.
async fn answering() -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut room = vec![0; 65_536];
                while let Ok(1..) = stream.read(&mut room).await {
                    let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
                }
            });
        }
    });
    (address, server)
}

/// Requests that are refused, each with something that must not be shown.
async fn refusals(port: u16) {
    for (target, header) in [
        ("/v1/poll?token=hidden.hidden.hidden", ""),
        ("/v1/poll?ticket=hidden", ""),
        ("/v1/sse?cursor=hidden&token=hidden", ""),
        ("/v1/poll", "authorization: Bearer hidden\r\n"),
        ("/v1/poll", "authorization: Basic hidden\r\n"),
        ("/hidden?hidden=hidden", "cookie: hidden\r\n"),
        // Of an algorithm whose keys are fetched: `{"alg":"ES256","kid":"hidden"}`.
        ("/v1/poll", "authorization: Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImhpZGRlbiJ9.e30.aGlkZGVu\r\n"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 503"), "{target}: {answer}");
    }
}
