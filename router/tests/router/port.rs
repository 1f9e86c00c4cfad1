//! Who may connect to a router's port, and what ends those who may not stay.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daemon::internal_tls::{InternalTls, InternalTlsArgs};
use hyper_util::rt::TokioIo;
use proto::wire::router_client::RouterClient;
use router::{Config, Port};
use testbed::certificates;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use crate::gateway::{Gateway, Running, soon};

fn tls(name: &str, authority: &str) -> InternalTls {
    let file = |name: String| -> Option<PathBuf> { Some(certificates().join(name)) };
    let args = InternalTlsArgs {
        internal_tls_cert: file(format!("{name}.cert.pem")),
        internal_tls_key: file(format!("{name}.key.pem")),
        internal_tls_ca: file(format!("{authority}.ca.pem")),
        internal_tls_name: if name == "other" { "other" } else { "switchboard" }.to_owned(),
        internal_insecure: false,
    };
    args.check().unwrap().unwrap()
}

async fn channel(router: &Running, tls: InternalTls) -> Result<Channel, tonic::transport::Error> {
    let address = router.address;
    let connect = move |_: http::Uri| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(stream).await?))
        }
    };
    let endpoint = Endpoint::from_static("http://router");
    endpoint.connect_with_connector(tower::service_fn(connect)).await
}

/// Whether a stranger gets so far that it is answered.
async fn is_let_in(router: &Running, tls: InternalTls) -> bool {
    let Ok(channel) = channel(router, tls).await else { return false };
    let queue = tokio_stream::pending();
    soon("an answer", RouterClient::new(channel).link(queue)).await.is_ok()
}

#[tokio::test]
async fn only_who_has_a_certificate_of_ours_is_let_in_and_the_others_go_on() {
    let port = Port { tls: Some(tls("ours", "ours")), ..Port::default() };
    let router = Running::on(port, Config::default()).await;
    let mut gateway =
        Gateway::open(RouterClient::new(channel(&router, tls("renewed", "ours")).await.unwrap()))
            .await
            .unwrap();
    gateway.send("alice", "alice~bob", "1").await;
    for (name, authority) in [("theirs", "both"), ("theirs", "theirs"), ("other", "ours")] {
        assert!(!is_let_in(&router, tls(name, authority)).await, "{name} {authority}");
    }
    // One that speaks no TLS.
    let mut plain = TcpStream::connect(router.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let _ = soon("the end", plain.read_to_end(&mut Vec::new())).await;
    assert_eq!(gateway.send("alice", "alice~bob", "2").await.seq, 2);
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused() {
    let router =
        Running::on(Port { tls: Some(tls("ours", "ours")), ..Port::default() }, Config::default()).await;
    // Ours would not start with it, so a client of its own.
    let read = |file: &str| std::fs::read(certificates().join(file)).unwrap();
    let pem = |file: &str| -> Vec<_> {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        CertificateDer::pem_slice_iter(&read(file)).collect::<Result<Vec<_>, _>>().unwrap()
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pem("ours.ca.pem").remove(0)).unwrap();
    let key = {
        use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
        PrivateKeyDer::from_pem_slice(&read("ended.key.pem")).unwrap()
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(pem("ended.cert.pem"), key)
        .unwrap();
    let stream = TcpStream::connect(router.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = rustls::pki_types::ServerName::try_from("switchboard").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let said = soon("the end", stream.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert!(said.to_string().contains("CertificateExpired"), "{said}");
}

#[tokio::test]
async fn a_certificate_is_asked_for_at_each_connection() {
    let (server, client) = (tls("ours", "ours"), tls("renewed", "ours"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..3 {
        let (accepted, connected) =
            tokio::join!(async { server.accept(listener.accept().await.unwrap().0).await.unwrap() }, async {
                let mut stream = client.connect(TcpStream::connect(address).await.unwrap()).await.unwrap();
                stream.write_all(b"x").await.unwrap();
                stream
            });
        let kind = accepted.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
        drop(connected);
    }
}

#[tokio::test]
async fn a_connection_without_a_link_ends_in_time_and_those_with_one_stay() {
    let patience = Duration::from_millis(200);
    let router = Running::on(Port { patience, ..Port::default() }, Config::default()).await;
    let mut gateway = router.connect().await;
    // One that says nothing, one that begins HTTP/2, one that asks for the health alone.
    let silent = TcpStream::connect(router.address).await.unwrap();
    let mut greeting = TcpStream::connect(router.address).await.unwrap();
    greeting.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    for mut stream in [silent, greeting] {
        let _ = soon("the end", stream.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(gateway.send("alice", "alice~bob", "1").await.seq, 1);
}

#[tokio::test]
async fn tls_that_does_not_begin_ends_in_time() {
    let port =
        Port { tls: Some(tls("ours", "ours")), patience: Duration::from_millis(200), ..Port::default() };
    let router = Running::on(port, Config::default()).await;
    let mut silent = TcpStream::connect(router.address).await.unwrap();
    let _ = soon("the end", silent.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn no_more_connections_are_let_in_than_may_be_and_one_that_ends_makes_room() {
    let router = Running::on(Port { connections: 1, ..Port::default() }, Config::default()).await;
    let mut first = router.connect().await;
    assert_eq!(first.send("alice", "alice~bob", "1").await.seq, 1);
    let mut second = TcpStream::connect(router.address).await.unwrap();
    let _ = soon("the end", second.read_to_end(&mut Vec::new())).await;
    assert_eq!(first.send("alice", "alice~bob", "2").await.seq, 2);
    drop(first);
    let mut third = soon("room", async {
        loop {
            if let Ok(client) = RouterClient::connect(format!("http://{}", router.address)).await
                && let Ok(gateway) = Gateway::open(client).await
            {
                return gateway;
            }
        }
    })
    .await;
    assert_eq!(third.send("alice", "alice~bob", "3").await.seq, 3);
}
