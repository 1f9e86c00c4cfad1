//! A WebSocket over HTTP/2 (RFC 8441), spoken with bare frames: what comes and
//! goes on the stream is what RFC 6455 says.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use bytes::{Buf as _, Bytes, BytesMut};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream, client};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

use super::DEADLINE;

/// One HTTP/2 connection.
pub struct Http2 {
    sender: client::SendRequest<Bytes>,
    /// What stands before a path: scheme and authority.
    base: String,
}

/// One of its streams, as a WebSocket.
pub struct WebSocket {
    send: SendStream<Bytes>,
    receive: RecvStream,
    unread: BytesMut,
}

/// What the peer sent.
#[derive(Debug, PartialEq)]
pub enum Received {
    Frame(Value),
    Close(u16),
    /// The stream ended.
    End,
}

impl Http2 {
    pub async fn connect<S>(stream: S, base: &str, tasks: &TaskTracker) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = client::handshake(stream).await.unwrap();
        tasks.spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        // The server's settings say whether it may be asked.
        let settled = async {
            while !sender.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
                sender = sender.clone().ready().await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, settled).await.expect("the server speaks RFC 8441");
        Self { sender, base: base.to_owned() }
    }

    /// The body of an answer, of which nothing has been read.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> RecvStream {
        let mut request = Request::get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, _) = self.sender.send_request(request.body(()).unwrap(), true).unwrap();
        let response = tokio::time::timeout(DEADLINE, response).await.expect("an answer comes").unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body()
    }

    /// Asks for a WebSocket at this path.
    pub async fn open(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<WebSocket, StatusCode> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("{}{path}", self.base))
            .extension(Protocol::from_static("websocket"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, send) = self.sender.send_request(request.body(()).unwrap(), false).unwrap();
        let response = tokio::time::timeout(DEADLINE, response).await.expect("an answer comes").unwrap();
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        Ok(WebSocket { send, receive: response.into_body(), unread: BytesMut::new() })
    }
}

impl WebSocket {
    /// Sends one masked text frame (RFC 6455 §5.2); zeros mask nothing.
    pub fn send(&mut self, frame: &Value) {
        self.write(0x81, frame.to_string().as_bytes());
    }

    pub fn close(&mut self, code: u16) {
        self.write(0x88, &code.to_be_bytes());
    }

    pub fn write(&mut self, head: u8, payload: &[u8]) {
        let mut bytes = vec![head];
        match u16::try_from(payload.len()).unwrap() {
            length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                bytes.push(0x80 | 126);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(payload);
        self.send.send_data(bytes.into(), false).unwrap();
    }

    /// The next frame of the protocol, or the end.
    pub async fn next(&mut self) -> Received {
        loop {
            let (head, payload) = match self.frame() {
                Some(frame) => frame,
                None => {
                    match tokio::time::timeout(DEADLINE, self.receive.data()).await.expect("something comes")
                    {
                        Some(Ok(data)) => {
                            self.receive.flow_control().release_capacity(data.len()).unwrap();
                            self.unread.extend_from_slice(&data);
                            continue;
                        }
                        Some(Err(_)) | None => return Received::End,
                    }
                }
            };
            match head {
                0x81 => return Received::Frame(serde_json::from_slice(&payload).unwrap()),
                0x88 => return Received::Close(u16::from_be_bytes([payload[0], payload[1]])),
                // Pings; this client answers none.
                0x89 => {}
                other => panic!("not expected: {other:#x}"),
            }
        }
    }

    /// The next frame of the protocol.
    pub async fn next_frame(&mut self) -> Value {
        match self.next().await {
            Received::Frame(frame) => frame,
            other => panic!("not a frame: {other:?}"),
        }
    }

    fn frame(&mut self) -> Option<(u8, Bytes)> {
        let (head, short) = (*self.unread.first()?, *self.unread.get(1)?);
        let (skip, length) = match short {
            126 => (4, usize::from(u16::from_be_bytes([*self.unread.get(2)?, *self.unread.get(3)?]))),
            length @ 0..126 => (2, usize::from(length)),
            length => panic!("masked, or too long: {length}"),
        };
        if self.unread.len() < skip + length {
            return None;
        }
        self.unread.advance(skip);
        Some((head, self.unread.split_to(length).freeze()))
    }
}
