//! The protocol over a WebSocket: a frame per text message (or, as protobuf,
//! per binary one), commands answered by `ref`.

use futures_util::{SinkExt, StreamExt};
use http::header::{AUTHORIZATION, HeaderName, SEC_WEBSOCKET_PROTOCOL};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::error::{Close, Error, Refusal, Result};
use super::two_way::{TwoWay, Wire};
use super::{Account, Form, Frame, binary, socket};

/// A session over one WebSocket.
pub type WebSocket = TwoWay<Messages>;

/// A frame in each message of a WebSocket.
#[derive(Debug)]
pub struct Messages {
    stream: WebSocketStream<TcpStream>,
    form: Form,
}

impl WebSocket {
    /// Connects with JSON frames and reads `welcome`.
    pub async fn connect(account: &Account) -> Result<Self> {
        Self::connect_as(account, Form::Json).await
    }

    /// Connects and reads `welcome`.
    pub async fn connect_as(account: &Account, form: Form) -> Result<Self> {
        let mut headers = Vec::new();
        if !account.token.is_empty() {
            headers.push((AUTHORIZATION, format!("Bearer {}", account.token)));
        }
        if form == Form::Protobuf {
            headers.push((SEC_WEBSOCKET_PROTOCOL, "switchboard.v1.proto".to_owned()));
        }
        let stream = open(account, &format!("/v1/ws{}", account.query()), &headers).await?;
        Self::begin(Messages { stream, form }).await
    }

    /// Sends any text, as a client would that knows no better.
    pub async fn send_text(&mut self, text: String) -> Result<()> {
        self.send_message(Message::text(text)).await
    }

    /// Sends any message, whether or not it is one of the protocol.
    pub async fn send_message(&mut self, message: Message) -> Result<()> {
        self.wire.stream.send(message).await.map_err(stream_error)
    }

    /// The socket below, for what no well-behaved client does.
    pub fn into_stream(self) -> WebSocketStream<TcpStream> {
        self.wire.stream
    }
}

impl Wire for Messages {
    async fn read(&mut self) -> Result<Frame> {
        match read(&mut self.stream).await? {
            Message::Text(text) if self.form == Form::Json => Frame::parse(text.as_bytes()),
            Message::Binary(bytes) if self.form == Form::Protobuf => binary::decode(&bytes),
            other => Err(Error::broken(format!("a message of the wrong kind: {other:?}"))),
        }
    }

    async fn send(&mut self, reference: u64, mut command: Value) -> Result<()> {
        command["ref"] = json!(reference);
        let message = match self.form {
            Form::Json => Message::text(command.to_string()),
            Form::Protobuf => Message::binary(binary::encode(&command)?),
        };
        self.stream.send(message).await.map_err(stream_error)
    }

    /// Says goodbye and waits for the server to do the same.
    async fn close(mut self) {
        if self.stream.close(None).await.is_ok() {
            while let Some(Ok(_)) = self.stream.next().await {}
        }
    }
}

/// Opens a WebSocket at a path of the account's gateway, without its token.
pub(crate) async fn open(
    account: &Account,
    path: &str,
    headers: &[(HeaderName, String)],
) -> Result<WebSocketStream<TcpStream>> {
    let authority = account.authority()?;
    let mut request = format!("ws://{authority}{path}").into_client_request().map_err(Error::broken)?;
    for (name, value) in headers {
        request.headers_mut().insert(name, value.parse().map_err(Error::broken)?);
    }
    // Small buffers: a load test holds thousands of these.
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let socket = socket::open(authority, account.receive_buffer).await?;
    let connected = client_async_with_config(request, socket, Some(config)).await;
    Ok(connected.map_err(handshake_error)?.0)
}

/// The next text or binary message; a close is an error. Safe to drop half way.
pub(crate) async fn read(stream: &mut WebSocketStream<TcpStream>) -> Result<Message> {
    loop {
        match stream.next().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(close))) => {
                let close = close.map(|close| (close.code.into(), close.reason.as_str().to_owned()));
                let (code, reason) = close.unzip();
                return Err(Error::Closed(Close { code, reason: reason.unwrap_or_default() }));
            }
            Some(Ok(message)) => return Ok(message),
            Some(Err(error)) => return Err(stream_error(error)),
            None => return Err(Error::Closed(Close { code: None, reason: String::new() })),
        }
    }
}

/// A refusal comes as an HTTP answer before the upgrade.
fn handshake_error(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = serde_json::from_slice(body).unwrap_or(Value::Null);
            Error::Refused(Refusal::read(response.status().as_u16(), &body))
        }
        other => Error::broken(other),
    }
}

pub(super) fn stream_error(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            Error::Closed(Close { code: None, reason: String::new() })
        }
        other => Error::broken(other),
    }
}
