//! `check` says whether a configuration would work, with what to change, and
//! `check-token` whether a token would be believed. Both leave everything as it is.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use testbed::{Binaries, Process, Profile, RedisServer, port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::DEADLINE;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1";
/// A key that can be used, and one of a kind that is not known.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":"NIaumDkxhSgnA9ag-QSUkxL2h9a8-G4AxnWgFFzs5Tg","y":"f8g-591btgTKaHa1U3j85PkZ_HpSaJ1lXgwNi3WEzzk"},{"kty":"future"}]}"#;

/// What a program has said, and its exit code.
struct Said {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Said {
    /// The lines that begin so, by their verdict and flag.
    fn lines(&self, verdict: &str, flag: &str) -> Vec<&str> {
        let begins = |line: &&str| line.split_whitespace().take(2).eq([verdict, flag]);
        self.out.lines().filter(begins).collect()
    }

    /// The one line with this verdict and flag has these words.
    fn assert(&self, verdict: &str, flag: &str, words: &str) {
        let lines = self.lines(verdict, flag);
        assert!(lines.len() == 1 && lines[0].contains(words), "{verdict} {flag} {words}:\n{}", self.out);
    }
}

fn run(program: &Path, arguments: &[&str], input: &str) -> Said {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if text.starts_with("SWITCHBOARD_") || text.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}

async fn check(program: &Path, arguments: &[&str]) -> Said {
    let (program, arguments) = (program.to_owned(), arguments.iter().map(|word| (*word).to_owned()));
    let arguments: Vec<String> = std::iter::once("check".to_owned()).chain(arguments).collect();
    let run = tokio::task::spawn_blocking(move || {
        run(&program, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "")
    });
    tokio::time::timeout(DEADLINE, run).await.expect("a check ends").unwrap()
}

/// Answers every request with this.
async fn answering(status: &'static str, body: &'static str) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut room = vec![0; 65_536];
            let _ = stream.read(&mut room).await;
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, server)
}

fn testdata(file: &str) -> String {
    format!("{}/../gateway/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn a_configuration_that_works_is_ok_and_nothing_is_written() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let redis = RedisServer::start().await.unwrap();
    let store = format!("--store={}", redis.url());
    let free = || format!("127.0.0.1:{}", port::free());
    let (listen, admin) = (format!("--listen={}", free()), format!("--admin-listen={}", free()));
    let said = check(&binaries.router(), &[&store, &listen, &admin]).await;
    assert_eq!((said.code, said.lines("ok", "--store").len()), (Some(0), 1), "{}", said.out);
    said.assert("ok", "--store", "Redis 7");
    said.assert("ok", "--listen", "is free");
    said.assert("ok", "--admin-listen", "is free");

    let (keys, _server) = answering("200 OK", KEYS).await;
    let router = port::free();
    let router_flags =
        [format!("--listen=127.0.0.1:{router}"), format!("--admin-listen={}", free()), store.clone()];
    let mut running = Process::spawn("router", &binaries.router(), &router_flags).unwrap();
    let ready = router_flags[1].replace("--admin-listen=", "http://") + "/readyz";
    running.ready(&ready, DEADLINE).await.unwrap();
    let said = check(
        &binaries.gateway(),
        &[
            &store,
            &listen,
            &admin,
            &format!("--router=http://127.0.0.1:{router}"),
            &format!("--jwt-secret={SECRET}"),
            &format!("--jwt-public-key={}", testdata("testdata/rsa.pub.pem")),
            &format!("--jwks-url=http://{keys}/keys"),
            "--jwt-audience=chat",
            &format!("--tls-cert={}", testdata("tests/certificates/one.cert.pem")),
            &format!("--tls-key={}", testdata("tests/certificates/one.key.pem")),
        ],
    )
    .await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.error);
    said.assert("ok", "--store", "Redis 7");
    said.assert("ok", "--router", "a router serves at 127.0.0.1");
    said.assert("ok", "--jwt-public-key", "is a key for RS256");
    said.assert("ok", "--jwks-url", "1 of its 2 keys can be used");
    said.assert("ok", "--tls-cert", "with its key");
    // A gateway that begins has its node there.
    let nodes = redis.command(&["ZCARD", "{sb}nodes"]).await.unwrap();
    assert_eq!(nodes, testbed::Reply::Integer(0));
}

#[tokio::test]
async fn each_thing_that_would_not_work_has_its_line() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (keys, _server) = answering("404 Not Found", "").await;
    let said = check(
        &binaries.gateway(),
        &[
            &format!("--store=redis://{NOBODY}"),
            &format!("--router=http://{NOBODY},http://{keys},http://no.such.host.invalid"),
            &format!("--listen={taken}"),
            &format!("--admin-listen={taken}"),
            "--jwt-secret=short",
            &format!("--jwt-public-key=/none.pem,{}", testdata("testdata/rsa.pem")),
            &format!("--jwks-url=http://{keys}/hidden"),
            &format!("--tls-cert={}", testdata("tests/certificates/one.cert.pem")),
            &format!("--tls-key={}", testdata("tests/certificates/two.key.pem")),
            "--log=a=b=c",
        ],
    )
    .await;
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.error);
    said.assert("fail", "--store", "nobody listens there: check that Redis runs");
    said.assert("fail", "--listen", "end the program that has it");
    said.assert("fail", "--admin-listen", "is the address of --listen, too");
    said.assert("fail", "--jwt-secret", "needs at least 32");
    said.assert("fail", "--jwks-url", "answered 404");
    said.assert("fail", "--tls-key", "with the certificate of --tls-cert");
    said.assert("fail", "--log", "is not a filter");
    said.assert("warn", "--jwks-url", "without --jwt-audience");
    let keys = said.lines("fail", "--jwt-public-key");
    assert!(
        keys.len() == 2 && keys[0].contains("cannot read") && keys[1].contains("private key"),
        "{keys:?}"
    );
    let routers = said.lines("fail", "--router");
    assert_eq!(routers.len(), 3, "{}", said.out);
    for (line, words) in
        routers.iter().zip(["check that the router runs", "no router serves", "has no address"])
    {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(!said.out.contains("hidden"), "{}", said.out);
}

#[tokio::test]
async fn a_certificate_that_has_ended_would_be_refused() {
    let gateway = Binaries::build(Profile::Debug).unwrap().gateway();
    let certificate = format!("--tls-cert={}", testdata("tests/certificates/old.cert.pem"));
    let key = format!("--tls-key={}", testdata("tests/certificates/one.key.pem"));
    let (store, router) = (format!("--store=redis://{NOBODY}"), format!("--router=http://{NOBODY}"));
    let said =
        check(&gateway, &[&store, &router, &certificate, &key, &format!("--jwt-secret={SECRET}")]).await;
    said.assert("fail", "--tls-cert", "has ended on Thu, 02 Jan 2020 00:00:00 GMT: renew it");
}

#[tokio::test]
async fn settings_of_redis_that_lose_messages_are_warned_of() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let redis = RedisServer::start().await.unwrap();
    for (name, value) in [("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")] {
        redis.command(&["CONFIG", "SET", name, value]).await.unwrap().ok().unwrap();
    }
    let listen = format!("--listen=127.0.0.1:{}", port::free());
    let admin = format!("--admin-listen=127.0.0.1:{}", port::free());
    let store = format!("--store={}", redis.url());
    let flags = [&store, &listen, &admin, "--store-replicas=1"];
    let said = check(&binaries.router(), &flags).await;
    assert_eq!(said.code, Some(0), "{}", said.out);
    let warnings = said.lines("warn", "--store").join("\n");
    for words in ["set appendonly yes", "set maxmemory-policy noeviction", "--store-replicas is 1"] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_and_one_that_does_not_let_in_are_told_apart() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let mut redis = RedisServer::start().await.unwrap();
    let host = redis.url().trim_start_matches("redis://").to_owned();
    let listen = format!("--listen=127.0.0.1:{}", port::free());
    let admin = format!("--admin-listen=127.0.0.1:{}", port::free());
    redis
        .command(&["ACL", "SETUSER", "weak", "on", ">word", "~*", "&*", "+@all", "-@scripting"])
        .await
        .unwrap();
    for (store, words) in [
        (format!("redis://nobody:hidden@{host}"), "check those in --store"),
        (format!("redis://weak:word@{host}"), "widen the user's ACL"),
    ] {
        let said = check(&binaries.router(), &[&format!("--store={store}"), &listen, &admin]).await;
        assert_eq!(said.code, Some(1), "{}", said.out);
        said.assert("fail", "--store", words);
        assert!(!said.out.contains("hidden"), "{}", said.out);
    }
    // Publishing is what a gateway needs of it.
    redis.command(&["ACL", "SETUSER", "deaf", "on", ">word", "~*", "&*", "+@all", "-publish"]).await.unwrap();
    let deaf = format!("--store=redis://deaf:word@{host}");
    let router = format!("--router=http://{NOBODY}");
    let secret = format!("--jwt-secret={SECRET}");
    let said = check(&binaries.gateway(), &[&deaf, &listen, &admin, &router, &secret]).await;
    said.assert("fail", "--store", "widen the user's ACL");

    redis.stop().unwrap();
    let said = check(&binaries.router(), &[&format!("--store={}", redis.url()), &listen, &admin]).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    said.assert("fail", "--store", "timeout");
}

#[tokio::test]
async fn a_wrong_flag_ends_a_check_as_it_ends_serving() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let secret = format!("--jwt-secret={SECRET}");
    let store = format!("--store=redis://{NOBODY}");
    let router = format!("--router=http://{NOBODY}");
    for (program, flags) in [
        (binaries.gateway(), &[&store, &router, &secret, "--heartbeat=25"][..]),
        (binaries.gateway(), &[&store, &router, &secret, "--heartbeat=0s"]),
        (binaries.gateway(), &["--store=embedded:/none", &router, &secret]),
        (binaries.gateway(), &[&store, &secret]),
        (binaries.router(), &["--store=embedded:/none"]),
        (binaries.router(), &[&store, "--webhook-url=http://host", "--webhook-secret=short"]),
        (binaries.standalone(), &["--listen=0.0.0.0:0"]),
    ] {
        let said = check(&program, flags).await;
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{flags:?}: {}", said.error);
        assert!(said.error.contains("--"), "{flags:?}: {}", said.error);
    }
}

#[tokio::test]
async fn standalone_is_checked_without_making_anything() {
    let binaries = Binaries::build(Profile::Debug).unwrap();
    let outer = tempfile::tempdir().unwrap();
    let data = outer.path().join("data");
    let store = format!("--store=embedded:{}", data.display());
    let listen = format!("--listen=127.0.0.1:{}", port::free());
    let admin = format!("--admin-listen=127.0.0.1:{}", port::free());
    let said = check(&binaries.standalone(), &[&store, &listen, &admin]).await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.error);
    said.assert("ok", "--store", "will be made at the first start");
    said.assert("ok", "--jwt-secret", "a secret will be made");
    assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 0);

    let flags = [store.clone(), listen.clone(), admin.clone()];
    let mut running = Process::spawn("standalone", &binaries.standalone(), &flags).unwrap();
    running.ready(&(admin.replace("--admin-listen=", "http://") + "/readyz"), DEADLINE).await.unwrap();
    let said = check(&binaries.standalone(), &[&store, &listen, &admin]).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    said.assert("fail", "--store", "in use by another process");
    said.assert("fail", "--listen", "end the program that has it");
    said.assert("ok", "--jwt-secret", "is used");

    // The tokens of that secret are believed, and others are not.
    let minted = run(&binaries.standalone(), &["token", "--user=alice", &store], "").out;
    let said = run(&binaries.standalone(), &["check-token", &store], &minted);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.error);
    let other = format!("--jwt-secret={SECRET}");
    let said = run(&binaries.standalone(), &["check-token", &store, &other, minted.trim()], "");
    assert!(said.code == Some(1) && said.out.contains("no, signature: "), "{}", said.out);
}

#[test]
fn a_token_is_read_out_and_believed_or_not_with_the_reason() {
    let gateway = Binaries::build(Profile::Debug).unwrap().gateway();
    let secret = format!("--jwt-secret={SECRET}");
    let token =
        ["token", "--user=alice", "--device=phone", "--scope=service", "--ttl=2h", "--issuer=me", &secret];
    let token = run(&gateway, &token, "").out;
    let signature = token.trim().rsplit_once('.').unwrap().1.to_owned();
    let ask = |flags: &[&str], input: &str| {
        let said = run(&gateway, &[&["check-token"], flags].concat(), input);
        assert!(
            !said.out.contains(&signature) && !said.error.contains(&signature),
            "{}{}",
            said.out,
            said.error
        );
        said
    };
    for said in [ask(&[&secret, token.trim()], ""), ask(&[&secret], &token)] {
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.error);
        let shown = |name: &str, value: &str| {
            said.out.lines().any(|line| line.starts_with(&format!("{name:<10}  ")) && line.contains(value))
        };
        for (name, value) in [
            ("user", "alice"),
            ("device", "phone"),
            ("scopes", "service"),
            ("issuer", "me"),
            ("ends", "(in "),
            ("algorithm", "HS256"),
            ("believed", "yes"),
        ] {
            assert!(shown(name, value), "{name} {value}:\n{}", said.out);
        }
        // However busy the machine is.
        let ago =
            |seconds| if seconds == 1 { "(1 second ago)".into() } else { format!("({seconds} seconds ago)") };
        assert!((0..60).any(|seconds| shown("issued", &ago(seconds))), "{}", said.out);
    }
    let key = format!("--jwt-public-key={}", testdata("testdata/ec.pub.pem"));
    for (flags, reason) in [
        (&["--jwt-secret=another-0123456789abcdef0123456789"][..], "no, signature: "),
        (&[&key], "no, algorithm: "),
        (&[&secret, "--max-token-life=1h"], "no, too_long: "),
        (&[&secret, "--jwt-issuer=you"], "no, issuer: "),
        (&[&secret, "--jwt-audience=chat"], "no, claim: the token's `aud`"),
    ] {
        let said = ask(&[flags, &[token.trim()]].concat(), "");
        assert!(said.code == Some(1) && said.out.contains(reason), "{flags:?}: {}{}", said.out, said.error);
        assert!(said.out.contains("alice"), "{}", said.out);
    }
    let said = ask(&[&secret], "no token");
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(1), "believed    no, malformed: the token is not a JWT\n")
    );
    for wrong in
        [&[token.trim()][..], &[&secret, token.trim(), token.trim()], &["--jwt-secret=short", token.trim()]]
    {
        assert_eq!(ask(wrong, "").code, Some(2), "{wrong:?}");
    }
}
