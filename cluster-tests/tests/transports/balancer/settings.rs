//! What the configurations say about silence and about repeating, shown by what
//! the programs do with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cluster_tests::PATIENCE;
use http::Method;
use loadtest::client::Account;
use loadtest::client::Transport;
use loadtest::client::http::Http;
use testbed::{Balancer, Gateways, Program, port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Balanced;
use crate::case::connect;

/// How long what passes may be silent, as `deploy/balancers/README.md` has it.
const SILENCE: &str = "90s";
/// The same for this test, and polls that wait for less and for more.
const SHORT: &str = "5s";
const LESS: u64 = 2;
const MORE: u64 = 9;

/// How often a configuration says it: Caddy has no time for silence, only one
/// between the requests of a connection.
fn times(program: Program) -> usize {
    match program {
        Program::Haproxy | Program::Nginx => 3,
        Program::Caddy => 1,
    }
}

/// With each time for silence made short a poll that waits longer is cut off,
/// and so is a silent WebSocket: so these settings are the ones that count.
#[tokio::test]
async fn silence_is_cut_by_the_settings_for_it_and_by_nothing_before() -> Result<()> {
    for program in Program::ALL {
        assert_eq!(program.configuration()?.matches(SILENCE).count(), times(program), "{program:?}");
    }
    let balanced = Balanced::start_with(|text| text.replace(SILENCE, SHORT)).await?;
    for (index, (program, _)) in balanced.balancers.iter().enumerate() {
        let account = balanced.account(index, "bob");
        let status = async |wait| {
            let mut http = Http::new(&account)?;
            let path = format!("/v1/poll?device=d{wait}&cursor=start&wait={wait}");
            let answer = http.request(Method::GET, &path, None).await;
            anyhow::Ok(answer.map_or(0, |answer| answer.status))
        };
        let cut = !matches!(program, Program::Caddy);
        assert_eq!(status(LESS).await?, 200, "{}", balanced.output(index));
        assert_eq!(status(MORE).await?, if cut { 504 } else { 200 }, "{}", balanced.output(index));
        if cut {
            let mut socket = connect(Transport::WebSocket, &account).await?;
            let ended = timeout(PATIENCE, socket.next_event()).await.context("the socket stays")?;
            assert!(ended.is_err(), "{ended:?}");
        }
    }
    Ok(())
}

/// What takes a request and hangs up without an answer.
struct Silent {
    gateways: Gateways,
    /// Requests that came: POSTs, GETs.
    came: Arc<[AtomicUsize; 2]>,
    _servers: JoinSet<()>,
}

impl Silent {
    async fn start() -> Result<Self> {
        let (port, admin) = (port::free(), port::free());
        let came = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let mut servers = JoinSet::new();
        let mut addresses = Vec::new();
        for host in ["127.0.2.1", "127.0.2.2"] {
            for port in [port, admin] {
                let listener = TcpListener::bind((host, port)).await?;
                let came = came.clone();
                servers.spawn(async move {
                    let mut connections = JoinSet::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        let came = came.clone();
                        connections.spawn(async move {
                            // Whoever leaves early is no concern of this server.
                            let _ = answer(stream, &came).await;
                        });
                    }
                });
            }
            addresses.push(format!("{host}:{port}"));
        }
        Ok(Self { gateways: Gateways { addresses, admin }, came, _servers: servers })
    }

    fn came(&self) -> [usize; 2] {
        [0, 1].map(|index| self.came[index].load(Ordering::SeqCst))
    }
}

async fn answer(mut stream: TcpStream, came: &[AtomicUsize; 2]) -> Result<()> {
    let mut read = Vec::new();
    while !read.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut read).await? > 0, "a header");
    }
    let text = String::from_utf8_lossy(&read);
    if text.contains("/v1/messages") {
        came[usize::from(!text.starts_with("POST"))].fetch_add(1, Ordering::SeqCst);
        return Ok(());
    }
    let good = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    Ok(stream.write_all(good).await?)
}

#[tokio::test]
async fn a_post_that_was_sent_is_not_sent_again() -> Result<()> {
    for program in Program::ALL {
        let silent = Silent::start().await?;
        let balancer = Balancer::start(program, &silent.gateways).await?;
        let mut http = Http::new(&Account::new(&balancer.url(), "", "d1"))?;
        let body = Bytes::from_static(b"{}");
        let answer = http.request_bytes(Method::POST, "/v1/messages", body, &[]).await;
        // A refusal of the balancer, or none.
        ensure!(answer.as_ref().is_ok_and(|answer| answer.status >= 500) || answer.is_err(), "{answer:?}");
        let [posts, _] = silent.came();
        assert_eq!(posts, 1, "{program:?}: {}", balancer.output());
    }
    Ok(())
}
