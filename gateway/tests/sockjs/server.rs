//! A service on a real port, with an echo inside, and what tests ask it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use gateway::accept::Acceptor;
use gateway::config::Proxies;
use gateway::transport::inside::{Close, Exchange, Host, Inside, Message, Refusal};
use gateway::transport::sockjs::{self, Options, Surroundings};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use proto::UserId;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Said;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::limits;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const MAX_BODY: usize = 65_536;

/// Waits for what must come.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it comes in time")
}

/// Whoever is inside: says back what it hears, to the user that `?token=` names.
#[derive(Default)]
pub(crate) struct Echo {
    /// Exchanges that there are.
    pub(crate) open: AtomicUsize,
    /// Whether exchanges take what they hear; and who waits for that.
    pub(crate) busy: AtomicBool,
    pub(crate) ready: AtomicWaker,
}

/// Opens echoes.
struct Echoes(Arc<Echo>);

#[async_trait]
impl Inside for Echoes {
    async fn open(&self, request: &Parts) -> Result<Box<dyn Exchange>, Refusal> {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let closes = request.uri.query().is_some_and(|query| query.contains("close"));
        Ok(Box::new(Echoing { of: self.0.clone(), closes, heard: VecDeque::new(), waker: None }))
    }
}

#[async_trait]
impl Host for Echoes {
    async fn owner(&self, request: &mut Parts) -> Result<UserId, Refusal> {
        let query = request.uri.query().unwrap_or_default();
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        token.and_then(|token| UserId::parse(token).ok()).ok_or_else(|| Refusal {
            status: StatusCode::UNAUTHORIZED,
            message: "no credential".to_owned(),
            retry_after: None,
        })
    }
}

struct Echoing {
    of: Arc<Echo>,
    closes: bool,
    heard: VecDeque<Message>,
    waker: Option<Waker>,
}

impl Exchange for Echoing {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.of.ready.register(cx.waker());
        if self.of.busy.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(()) }
    }

    fn hear(&mut self, message: Message) -> Result<(), Close> {
        if message == Message::Text("end".to_owned()) {
            return Err(Close::new(4000, "as asked"));
        }
        self.heard.push_back(message);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Message>,
        most: usize,
    ) -> Poll<Result<(), Close>> {
        if self.closes {
            return Poll::Ready(Err(Close::new(3000, "Go away!")));
        }
        let count = most.min(self.heard.len());
        if count == 0 {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        out.extend(self.heard.drain(..count));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Echoing {
    fn drop(&mut self) {
        self.of.open.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) echo: Arc<Echo>,
    client: Client<HttpConnector, Body>,
    stop: CancellationToken,
    _tasks: TaskTracker,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An answer that has been read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with_heartbeat(DEADLINE).await
    }

    pub(crate) async fn with_heartbeat(heartbeat: Duration) -> Self {
        let (echo, stop, tasks) = (Arc::new(Echo::default()), CancellationToken::new(), TaskTracker::new());
        let options = Options {
            websocket: true,
            cookie: false,
            heartbeat,
            response_limit: 4_096,
            max_body_bytes: MAX_BODY,
            jsonp: true,
            client: Some("https://cdn.test/sockjs.js".parse().unwrap()),
            ancestors: None,
        };
        let around = || Surroundings {
            others: None,
            host: Arc::new(Echoes(echo.clone())),
            tracker: tasks.clone(),
            stop: stop.clone(),
        };
        let plain = Options { websocket: false, cookie: true, ..options.clone() };
        let routes =
            sockjs::routes("/echo", options, around()).merge(sockjs::routes("/plain", plain, around()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Acceptor::new(routes, &limits(), Proxies::none(), DEADLINE, None);
        let stopped = stop.clone();
        tasks.spawn(async move { acceptor.run(listener, &stopped).await });
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { address, echo, client, stop, _tasks: tasks }
    }

    pub(crate) async fn begin(&self, request: Request<Body>) -> http::Response<Incoming> {
        soon(self.client.request(request)).await.unwrap()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.address))
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.begin(request).await.into_parts();
        let body = soon(body.collect()).await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(self.request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(self.request("POST", path).body(body.into()).unwrap()).await
    }

    /// What a poll of `path` (a session's) brings.
    pub(crate) async fn poll(&self, path: &str) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, "token=alice"));
        let answer = self.post(&format!("{path}/xhr?{query}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// Sends, and says the status.
    pub(crate) async fn send(&self, path: &str, body: impl Into<Body>) -> StatusCode {
        let (path, query) = path.split_once('?').unwrap_or((path, "token=alice"));
        self.post(&format!("{path}/xhr_send?{query}"), body).await.status
    }

    pub(crate) async fn stream(&self, method: &str, path: &str) -> Stream {
        let response = self.begin(self.request(method, path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Stream(response.into_body())
    }

    pub(crate) async fn websocket(&self, path: &str) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let url = format!("ws://{}{path}", self.address);
        soon(tokio_tungstenite::connect_async(url)).await.unwrap().0
    }

    /// Waits until there are so many exchanges.
    pub(crate) async fn until_open(&self, count: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.echo.open.load(Ordering::SeqCst) != count {
            assert!(Instant::now() < deadline, "{} open", self.echo.open.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An answer that goes on. Dropped, its connection breaks.
pub(crate) struct Stream(Incoming);

impl Stream {
    /// The next piece; empty at the end.
    pub(crate) async fn next(&mut self) -> String {
        let piece = soon(self.0.frame()).await.map(|piece| piece.unwrap().into_data().unwrap());
        String::from_utf8(piece.unwrap_or(Bytes::new()).to_vec()).unwrap()
    }
}

/// The text of what a WebSocket brings next, after pings.
pub(crate) async fn heard(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Said {
    use futures_util::StreamExt as _;
    loop {
        match soon(socket.next()).await.expect("not at its end").unwrap() {
            Said::Ping(_) => {}
            said => return said,
        }
    }
}
