//! A whole system in a folder of its own, and a client for it.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod http2;
pub mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use gateway::caller::auth::token::Token;
use gateway::config::{Origins, Secret};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use standalone::{Config, System};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Running {
    pub address: SocketAddr,
    pub secret: Secret,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    pub folder: tempfile::TempDir,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// Null when there is none, or it is no JSON.
    pub body: Value,
    /// As it came.
    pub text: String,
}

/// As `--allow-origin` gives them.
pub fn origins(texts: &[&str]) -> Origins {
    Origins::new(texts.iter().map(|text| text.parse().unwrap()).collect())
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Running {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// As with a secret of one's own.
    pub async fn start_without_dev() -> Self {
        Self::start_with(|config| config.dev = None).await
    }

    pub async fn start_in(folder: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = standalone::args::in_folder(folder.path().join("data")).unwrap();
        let secret = config.dev.clone().unwrap();
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let system = System::start(config).await.unwrap();
        let ready = system.ready();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(system.serve(listener, stop.clone()));
        let is_ready = async {
            while ready().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, is_ready).await.expect("the system becomes ready");
        Self { address, secret, stop, tasks, folder }
    }

    /// Stops it, and gives its folder to the next.
    pub async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(DEADLINE, self.tasks.wait()).await.expect("the system stops");
        self.folder
    }

    pub fn token(&self, user: &str, scope: Option<&str>) -> String {
        let scope = scope.map(str::to_owned);
        let token =
            Token { sub: user, device: None, scope, ttl: Duration::from_secs(600), ..Token::default() };
        token.sign(&self.secret).unwrap()
    }

    pub fn bearer(&self, user: &str) -> String {
        format!("Bearer {}", self.token(user, None))
    }

    pub async fn get(&self, user: &str, path: &str) -> Answer {
        self.ask(user, "GET", path, None).await
    }

    pub async fn post(&self, user: &str, path: &str, body: Value) -> Answer {
        self.ask(user, "POST", path, Some(body)).await
    }

    pub async fn ask(&self, user: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let headers = [("authorization", self.bearer(user)), ("content-type", "application/json".to_owned())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.raw(method, path, &headers, body.map(|body| body.to_string().into_bytes()).unwrap_or_default())
            .await
    }

    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        self.tasks.spawn(connection);
        let mut request =
            http::Request::builder().method(method).uri(path).header("host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let answer = async {
            let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
            let bytes =
                if parts.status == 101 { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
            Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            }
        };
        tokio::time::timeout(DEADLINE, answer).await.expect("an answer comes")
    }

    /// The header of an answer that does not end by itself.
    pub async fn head(&self, user: &str, path: &str) -> http::HeaderMap {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        self.tasks.spawn(connection);
        let request = http::Request::get(path)
            .header("host", self.address.to_string())
            .header("authorization", self.bearer(user))
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = tokio::time::timeout(DEADLINE, sender.send_request(request)).await;
        let answer = answer.expect("an answer comes").unwrap();
        assert_eq!(answer.status(), 200);
        answer.headers().clone()
    }
}
