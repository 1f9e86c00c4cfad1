//! TLS on the client port, over real sockets: what is negotiated, how long a
//! handshake may take, and how a certificate is replaced.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod limits;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::routing::get;
use gateway::accept::Acceptor;
use gateway::config::{Limits, Proxies, Tls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use limits::limits;

const DEADLINE: Duration = Duration::from_secs(20);

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

struct Server {
    address: SocketAddr,
    acceptor: Arc<Acceptor>,
    stop: CancellationToken,
    tasks: TaskTracker,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_behind(Proxies::none(), limits).await
    }

    async fn start_behind(proxies: Proxies, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::copy(certificate("one.cert.pem"), &cert).unwrap();
        std::fs::copy(certificate("one.key.pem"), &key).unwrap();
        let tls = Tls::open(&cert, &key).unwrap();
        let routes = axum::Router::new().route("/hello", get(async || "hello"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Arc::new(Acceptor::new(routes, &limits, proxies, DEADLINE, Some(tls)));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (running, stopped) = (acceptor.clone(), stop.clone());
        tasks.spawn(async move { running.run(listener, &stopped).await });
        Self { address, acceptor, stop, tasks, folder }
    }

    /// A handshake of a client that trusts `roots` and offers `alpn`.
    async fn connect(&self, root: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate(root)).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    fn replace(&self, cert: &str, key: &str) {
        std::fs::copy(certificate(cert), self.folder.path().join("cert.pem")).unwrap();
        std::fs::copy(certificate(key), self.folder.path().join("key.pem")).unwrap();
    }

    async fn until_trusted(&self, root: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.connect(root, &[]).await.is_err() {
            assert!(Instant::now() < deadline, "{root} is not served");
        }
    }
}

async fn read_to_end(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server closes the connection");
    bytes
}

const GET_AND_CLOSE: &[u8] = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn http_1_is_served_over_tls() {
    let server = Server::start(limits()).await;
    for alpn in [&[][..], &["http/1.1"]] {
        let mut stream = server.connect("one.cert.pem", alpn).await.unwrap();
        stream.write_all(GET_AND_CLOSE).await.unwrap();
        let answer = String::from_utf8(read_to_end(stream).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    }
}

#[tokio::test]
async fn http_2_is_preferred_and_served_over_tls() {
    let server = Server::start(limits()).await;
    let stream = server.connect("one.cert.pem", &["http/1.1", "h2"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream).await.unwrap();
    server.tasks.spawn(connection);
    let request = http::Request::get("https://localhost/hello").body(axum::body::Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
}

#[tokio::test]
async fn what_is_no_tls_is_closed_and_gives_its_slot_back() {
    let server = Server::start(Limits {
        handshake_timeout: Duration::from_millis(300),
        max_connections: 1,
        ..limits()
    })
    .await;
    // Plain HTTP, half a record, and nothing at all.
    for begun in [GET_AND_CLOSE, b"\x16\x03\x01", b""] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let answer = read_to_end(stream).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        let deadline = Instant::now() + DEADLINE;
        while server.acceptor.counts().open > 0 {
            assert!(Instant::now() < deadline, "{:?}", server.acceptor.counts());
            tokio::task::yield_now().await;
        }
    }
    // A handshake that was done, and then no request.
    let stream = server.connect("one.cert.pem", &[]).await.unwrap();
    assert!(read_to_end(stream).await.is_empty());
    assert_eq!(server.acceptor.counts().refused, 0);
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_a_bad_one_is_not() {
    let server = Server::start(limits()).await;
    let mut old = server.connect("one.cert.pem", &[]).await.unwrap();
    assert!(server.connect("two.cert.pem", &[]).await.is_err());
    // Files that do not belong together, for longer than the server takes to
    // look at them.
    server.replace("two.cert.pem", "one.key.pem");
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_millis(1_500) {
        assert!(server.connect("one.cert.pem", &[]).await.is_ok());
    }
    server.replace("two.cert.pem", "two.key.pem");
    server.until_trusted("two.cert.pem").await;
    assert!(server.connect("one.cert.pem", &[]).await.is_err());
    // Whoever came before is not disturbed.
    old.write_all(GET_AND_CLOSE).await.unwrap();
    assert!(read_to_end(old).await.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn stopping_does_not_wait_for_handshakes() {
    let server = Server::start(limits()).await;
    let half = TcpStream::connect(server.address).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    while server.acceptor.counts().open == 0 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    server.stop.cancel();
    server.acceptor.finish(DEADLINE).await;
    assert_eq!(server.acceptor.counts().open, 0);
    assert!(read_to_end(half).await.is_empty());
}
