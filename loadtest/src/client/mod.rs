//! A client of the protocol, one file a transport with mirrored names. All
//! keep the cursor of the last event that they handed out, hand out every
//! frame that the server sends, and swallow nothing.
//!
//! In reading order: [`Account`] (who connects, where), [`Frame`], [`Error`],
//! [`Client`], then the transports.

mod binary;
mod engine;
mod error;
mod frame;
mod handed;
pub mod http;
mod iframe;
mod lines;
mod one_way;
mod poll;
mod polls;
mod resource;
mod socket;
mod socketio;
mod sockjs;
mod sse;
mod stream;
mod two_way;
mod uplink;
pub(crate) mod websocket;

use serde_json::{Value, json};

pub use binary::Form;
pub use engine::Carrier;
pub(crate) use engine::Engine;
pub use error::{Close, Error, Refusal, Result};
pub use frame::Frame;
pub use lines::Lines;
pub use one_way::OneWay;
pub use poll::Poll;
pub use socketio::SocketIo;
pub use sockjs::SockJs;
pub use two_way::{TwoWay, Wire};
pub use websocket::WebSocket;

/// Who connects, to which gateway, and from which position on.
#[derive(Debug, Clone)]
pub struct Account {
    /// A gateway: `http://127.0.0.1:8080`.
    pub gateway: String,
    /// Another gateway for the commands of one-way transports.
    pub uplink: Option<String>,
    /// Gateways that such a command goes to, one after another, while no
    /// connection can be made to the one before.
    pub others: Vec<String>,
    /// The token; none is sent when it is empty.
    pub token: String,
    /// The device; the server makes one up when there is none.
    pub device: Option<String>,
    /// Where to go on; `start` for all that is kept, nothing for what comes.
    pub cursor: Option<String>,
    /// Channels for one-way transports and polls: `c_news:41,c_sport`.
    pub channels: Option<String>,
    /// The socket's receive buffer in bytes, for readers that fall behind.
    pub receive_buffer: Option<u32>,
}

/// How frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `GET /v1/ws`.
    WebSocket,
    /// The same with the subprotocol `switchboard.v1.proto`.
    WebSocketProtobuf,
    /// `GET /v1/sse`, commands over HTTP, as for all that follow.
    Sse,
    /// `GET /v1/stream`.
    Stream,
    /// `GET /v1/iframe`.
    Iframe,
    /// `GET /v1/poll` that waits up to 25 seconds.
    LongPoll,
    /// The same with answers in protobuf.
    LongPollProtobuf,
    /// `GET /v1/poll?wait=0`, again and again.
    ShortPoll,
    /// `/socket.io/` over one WebSocket.
    SocketIoWebSocket,
    /// `/socket.io/` over polls.
    SocketIoPolling,
    /// `/sockjs` over one WebSocket.
    SockJsWebSocket,
    /// `/sockjs` over XHR polls.
    SockJsPolling,
}

impl Transport {
    /// Whether commands go the way that frames come.
    pub fn is_two_way(self) -> bool {
        match self {
            Self::WebSocket | Self::WebSocketProtobuf => true,
            Self::SocketIoWebSocket | Self::SocketIoPolling => true,
            Self::SockJsWebSocket | Self::SockJsPolling => true,
            Self::Sse | Self::Stream | Self::Iframe => false,
            Self::LongPoll | Self::LongPollProtobuf | Self::ShortPoll => false,
        }
    }
}

/// Seconds that a long poll waits.
const WAIT: u64 = 25;

/// A connected device.
#[derive(Debug)]
pub enum Client {
    /// Over a WebSocket.
    WebSocket(Box<WebSocket>),
    /// Over a stream that goes one way.
    OneWay(Box<OneWay>),
    /// Over long or short polls.
    Poll(Box<Poll>),
    /// Over Socket.IO, in a WebSocket or in polls.
    SocketIo(Box<SocketIo>),
    /// Over SockJS, in a WebSocket or in polls.
    SockJs(Box<SockJs>),
}

impl Account {
    /// A user's device at a gateway, from the head on.
    pub fn new(gateway: &str, token: &str, device: &str) -> Self {
        Self {
            gateway: gateway.trim_end_matches('/').to_owned(),
            uplink: None,
            others: Vec::new(),
            token: token.to_owned(),
            device: Some(device.to_owned()),
            cursor: None,
            channels: None,
            receive_buffer: None,
        }
    }

    /// The same from another position on.
    pub fn from(mut self, cursor: &str) -> Self {
        self.cursor = Some(cursor.to_owned());
        self
    }

    /// The same with these channels.
    pub fn with_channels(mut self, channels: &str) -> Self {
        self.channels = Some(channels.to_owned());
        self
    }

    /// Host and port: `127.0.0.1:8080`. Fails for anything but `http://`.
    pub(crate) fn authority(&self) -> Result<&str> {
        let authority = self.gateway.strip_prefix("http://");
        authority.ok_or_else(|| Error::broken(format!("`{}` is no http:// address", self.gateway)))
    }

    /// The query of every transport: device, cursor and channels.
    pub(crate) fn query(&self) -> String {
        let mut query = String::new();
        let parameters = [("device", &self.device), ("cursor", &self.cursor), ("channels", &self.channels)];
        for (name, value) in parameters {
            if let Some(value) = value {
                query.push(if query.is_empty() { '?' } else { '&' });
                query.push_str(name);
                query.push('=');
                query.push_str(&resource::encode(value));
            }
        }
        query
    }
}

impl Client {
    /// Connects; returns when the server has said where the session starts.
    pub async fn connect(transport: Transport, account: &Account) -> Result<Self> {
        let one_way = |client| Self::OneWay(Box::new(client));
        let poll = |client| Self::Poll(Box::new(client));
        let socket_io = |client| Self::SocketIo(Box::new(client));
        let sockjs = |client| Self::SockJs(Box::new(client));
        Ok(match transport {
            Transport::WebSocket => Self::WebSocket(Box::new(WebSocket::connect(account).await?)),
            Transport::WebSocketProtobuf => {
                Self::WebSocket(Box::new(WebSocket::connect_as(account, Form::Protobuf).await?))
            }
            Transport::Sse => one_way(sse::connect(account).await?),
            Transport::Stream => one_way(stream::connect(account).await?),
            Transport::Iframe => one_way(iframe::connect(account).await?),
            Transport::LongPoll => poll(Poll::connect(account, WAIT).await?),
            Transport::LongPollProtobuf => poll(Poll::connect_as(account, WAIT, Form::Protobuf).await?),
            Transport::ShortPoll => poll(Poll::connect(account, 0).await?),
            Transport::SocketIoWebSocket => socket_io(SocketIo::connect(account, Carrier::WebSocket).await?),
            Transport::SocketIoPolling => socket_io(SocketIo::connect(account, Carrier::Polling).await?),
            Transport::SockJsWebSocket => sockjs(SockJs::connect(account, Carrier::WebSocket).await?),
            Transport::SockJsPolling => sockjs(SockJs::connect(account, Carrier::Polling).await?),
        })
    }

    /// The frame that the stream began with; polls have none.
    pub fn welcome(&self) -> Option<&Frame> {
        match self {
            Self::WebSocket(client) => Some(client.welcome()),
            Self::OneWay(client) => Some(client.welcome()),
            Self::SocketIo(client) => Some(client.welcome()),
            Self::SockJs(client) => Some(client.welcome()),
            Self::Poll(_) => None,
        }
    }

    /// The position of the last event handed out.
    pub fn cursor(&self) -> &str {
        match self {
            Self::WebSocket(client) => client.cursor(),
            Self::OneWay(client) => client.cursor(),
            Self::Poll(client) => client.cursor(),
            Self::SocketIo(client) => client.cursor(),
            Self::SockJs(client) => client.cursor(),
        }
    }

    /// The next frame of any type. Waits for as long as it takes; safe to drop
    /// half way.
    pub async fn next_frame(&mut self) -> Result<Frame> {
        match self {
            Self::WebSocket(client) => client.next_frame().await,
            Self::OneWay(client) => client.next_frame().await,
            Self::Poll(client) => client.next_frame().await,
            Self::SocketIo(client) => client.next_frame().await,
            Self::SockJs(client) => client.next_frame().await,
        }
    }

    /// The next frame that is an event of the inbox, or a reset. Other frames
    /// before it are dropped: for callers that look at nothing else.
    pub async fn next_event(&mut self) -> Result<Frame> {
        loop {
            let frame = self.next_frame().await?;
            if frame.is_event() || frame.kind() == "reset" {
                return Ok(frame);
            }
        }
    }

    /// Reads on until the session ends: the `reason` of its last `goaway`, empty
    /// where it was told none, and how it ended.
    pub async fn until_end(&mut self) -> (String, Error) {
        let mut reason = String::new();
        loop {
            match self.next_frame().await {
                Ok(frame) if frame.kind() == "goaway" => {
                    frame.text("reason").unwrap_or_default().clone_into(&mut reason);
                }
                Ok(_) => {}
                Err(error) => return (reason, error),
            }
        }
    }

    /// Sends a command and does not wait for its answer, which comes out of
    /// [`next_frame`](Self::next_frame) with the `ref` that is given back.
    /// (Over HTTP the answer is waited for and handed out later.)
    pub async fn start(&mut self, command: Value) -> Result<u64> {
        match self {
            Self::WebSocket(client) => client.start(command).await,
            Self::OneWay(client) => client.start(command).await,
            Self::Poll(client) => client.start(command).await,
            Self::SocketIo(client) => client.start(command).await,
            Self::SockJs(client) => client.start(command).await,
        }
    }

    /// Sends a command and waits for its answer. What comes meanwhile comes
    /// out of [`next_frame`](Self::next_frame) afterwards, in order; so does a
    /// `sent` that carries a cursor, which is an event too.
    pub async fn command(&mut self, command: Value) -> Result<Frame> {
        match self {
            Self::WebSocket(client) => client.command(command).await,
            Self::OneWay(client) => client.command(command).await,
            Self::Poll(client) => client.command(command).await,
            Self::SocketIo(client) => client.command(command).await,
            Self::SockJs(client) => client.command(command).await,
        }
    }

    /// Sends a message to a user.
    pub async fn send(&mut self, to: &str, body: Value, client_msg_id: &str) -> Result<Frame> {
        self.command(json!({"type": "send", "to": to, "body": body, "client_msg_id": client_msg_id})).await
    }

    /// Says that everything handed out so far has arrived.
    pub async fn ack(&mut self) -> Result<Frame> {
        let cursor = self.cursor().to_owned();
        self.command(json!({"type": "ack", "cursor": cursor})).await
    }

    /// Ends the session in an orderly way where the transport knows one.
    pub async fn close(self) {
        match self {
            Self::WebSocket(client) => client.close().await,
            Self::SocketIo(client) => client.close().await,
            Self::SockJs(client) => client.close().await,
            Self::OneWay(_) | Self::Poll(_) => {}
        }
    }
}
