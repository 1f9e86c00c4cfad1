//! A server, and a client that knows no more of HTTP than what tests send.

use std::net::SocketAddr;
use std::time::Duration;

use conformance::{Among, Times};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

/// For anything that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Nobody is let go during a test.
pub(crate) const PATIENT: Times =
    Times { ping_interval: DEADLINE, ping_timeout: DEADLINE, connect_timeout: DEADLINE };

/// A listener and its address. It is given to the server as it is: a port that was let
/// go is another test's at once.
pub(crate) async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// One server, for one test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(PATIENT).await
    }

    pub(crate) async fn with(times: Times) -> Self {
        Self::among(None, times).await
    }

    /// As one of several, which reach it on this listener.
    pub(crate) async fn among(among: Option<(TcpListener, Among)>, times: Times) -> Self {
        let (listener, address) = bound().await;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(conformance::serve(listener, among, times, stop.clone()));
        Self { address, stop, tasks }
    }

    /// Ends it. It must end by itself.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        timeout(DEADLINE, self.tasks.join_next()).await.unwrap().unwrap().unwrap();
    }

    /// A request that is on its way: its head, and what of its body is given.
    pub(crate) async fn send(&self, head: &str, body: &[u8]) -> PendingRequest {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{head}\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        PendingRequest { stream }
    }

    pub(crate) async fn begin_get(&self, target: &str) -> PendingRequest {
        self.send(&format!("GET {target} HTTP/1.1"), b"").await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.begin_get(target).await.answer().await
    }

    pub(crate) async fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let head = format!("POST {target} HTTP/1.1\r\ncontent-length: {}", body.len());
        self.send(&head, body).await.answer().await
    }

    pub(crate) async fn websocket(&self, target: &str) -> WebSocket {
        WebSocket(connect_async(format!("ws://{}{target}", self.address)).await.unwrap().0)
    }
}

/// A request without an answer yet.
pub(crate) struct PendingRequest {
    pub(crate) stream: TcpStream,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl PendingRequest {
    pub(crate) async fn answer(mut self) -> Answer {
        let mut bytes = Vec::new();
        timeout(DEADLINE, self.stream.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// Waits until the server begins to read the body of a request with
    /// `Expect: 100-continue`.
    pub(crate) async fn is_read(&mut self) {
        let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut bytes = vec![0; expected.len()];
        timeout(DEADLINE, self.stream.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(bytes, expected);
    }
}

impl Answer {
    /// As a tuple, to be compared.
    pub(crate) fn parts(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

pub(crate) struct WebSocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl WebSocket {
    pub(crate) async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next message; nothing at the end, however it comes.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            match timeout(DEADLINE, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    pub(crate) async fn next_text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("no text, but {other:?}"),
        }
    }
}

/// Waits until this is so.
pub(crate) async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    timeout(DEADLINE, async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it becomes so in time");
}
