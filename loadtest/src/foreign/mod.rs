//! Clients of the servers that `versus` measures beside this one. Each speaks
//! its server's own protocol and translates to and from the
//! vocabulary of PROTOCOL.md, so that the same workloads run against all and
//! the generator does the same work for each.
//!
//! None of these servers numbers a user's messages: a message's number is the
//! one in its body, `f` its sender and `n` the sender's count, and its log is
//! named `sender>target`.

mod centrifugo;
mod relay;
mod socketio;

use std::collections::VecDeque;
use std::fmt;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Account, Carrier, Engine, Error, Frame, Result, websocket};
use crate::workload::Kind;

/// A server's protocol, as far as the workloads need it. Texts are WebSocket
/// messages, or Engine.IO's.
trait Dialect: fmt::Debug + Send + Sync {
    /// Where the WebSocket is.
    fn path(&self) -> String;

    /// What the client says first, if it is the first to speak.
    fn greet(&mut self) -> Option<String> {
        None
    }

    /// Takes what the server sent.
    fn hear(&mut self, text: &str) -> Result<PeerMessage>;

    /// Sends a body to a user.
    fn send(&mut self, to: &str, body: &Value) -> String;

    /// Sends a body to a channel's subscribers.
    fn publish(&mut self, channel: &str, body: &Value) -> String;

    /// Subscribes; ends with [`PeerMessage::Ready`].
    fn subscribe(&mut self, channel: &str) -> String;

    /// Where the user would go on, with a server that keeps what was missed.
    fn cursor(&self) -> Option<String> {
        None
    }
}

/// What a server's message means.
#[derive(Debug)]
enum PeerMessage {
    /// Answer with these.
    Reply(Vec<String>),
    /// What was last asked for (to be connected, a subscription) is there, with
    /// what was missed.
    Ready(Vec<(String, Value)>),
    /// Bodies, each with whom or what it was sent to.
    Bodies(Vec<(String, Value)>),
}

/// How texts travel.
#[derive(Debug)]
enum Way {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Engine(Box<Engine>),
}

/// A connected user of another server.
#[derive(Debug)]
pub(crate) struct Foreign {
    way: Way,
    dialect: Box<dyn Dialect>,
    /// Read and not yet handed out; as long as one message of the server, and
    /// own answers.
    waiting: VecDeque<Frame>,
    last_ref: u64,
}

impl Foreign {
    /// Connects; returns when the user, who is the account's device, would hear
    /// what is sent to it, and to the channel. What came after the account's
    /// cursor is handed out first. Only Socket.IO knows carriers.
    pub(crate) async fn connect(
        kind: Kind,
        account: &Account,
        carrier: Carrier,
        channel: Option<&str>,
    ) -> Result<Self> {
        let user = account.device.as_deref().unwrap_or_default();
        let dialect: Box<dyn Dialect> = match kind {
            Kind::SocketIo | Kind::Socketioxide => Box::new(socketio::SocketIo::new(user)),
            Kind::Centrifugo | Kind::CentrifugoHistory => {
                Box::new(centrifugo::Centrifugo::new(user, account.cursor.as_deref()))
            }
            Kind::Relay => Box::new(relay::Relay::new(user)),
            Kind::Switchboard => return Err(Error::broken("not another server")),
        };
        let way = match kind {
            Kind::SocketIo | Kind::Socketioxide => {
                Way::Engine(Box::new(Engine::open(account, &dialect.path(), carrier).await?))
            }
            _ => Way::WebSocket(Box::new(websocket::open(account, &dialect.path(), &[]).await?)),
        };
        let mut foreign = Self { way, dialect, waiting: VecDeque::new(), last_ref: 0 };
        if let Some(text) = foreign.dialect.greet() {
            foreign.write(text).await?;
        }
        foreign.ready().await?;
        if let Some(channel) = channel {
            let text = foreign.dialect.subscribe(channel);
            foreign.write(text).await?;
            foreign.ready().await?;
        }
        Ok(foreign)
    }

    /// Where the user would go on; empty with a server that keeps nothing.
    pub(crate) fn cursor(&self) -> String {
        self.dialect.cursor().unwrap_or_default()
    }

    /// The next frame. Safe to drop half way.
    pub(crate) async fn next_frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return Ok(frame);
            }
            self.hear().await?;
        }
    }

    /// Sends a `send` or `publish`. These servers answer neither: `sent` comes
    /// from here.
    pub(crate) async fn start(&mut self, command: &Value) -> Result<u64> {
        let body = &command["body"];
        let text = match command["type"].as_str() {
            Some("send") => self.dialect.send(command["to"].as_str().unwrap_or_default(), body),
            Some("publish") => self.dialect.publish(command["channel"].as_str().unwrap_or_default(), body),
            other => return Err(Error::broken(format!("{other:?} is nothing that this server knows"))),
        };
        let number = body["n"].clone();
        self.write(text).await?;
        self.last_ref += 1;
        self.waiting.push_back(Frame(json!({"type": "sent", "ref": self.last_ref, "seq": number})));
        Ok(self.last_ref)
    }

    async fn ready(&mut self) -> Result<()> {
        while !self.hear().await? {}
        Ok(())
    }

    /// One message of the server; true if what was asked for is there.
    async fn hear(&mut self) -> Result<bool> {
        let text = match &mut self.way {
            Way::Engine(engine) => engine.next().await?,
            Way::WebSocket(stream) => match websocket::read(stream).await? {
                Message::Text(text) => text.as_str().to_owned(),
                other => return Err(Error::broken(format!("a message of the wrong kind: {other:?}"))),
            },
        };
        match self.dialect.hear(&text)? {
            PeerMessage::Ready(missed) => {
                self.hand_out(missed);
                return Ok(true);
            }
            PeerMessage::Reply(texts) => {
                for text in texts {
                    self.write(text).await?;
                }
            }
            PeerMessage::Bodies(bodies) => self.hand_out(bodies),
        }
        Ok(false)
    }

    fn hand_out(&mut self, bodies: Vec<(String, Value)>) {
        self.waiting.extend(bodies.into_iter().map(|(target, body)| frame(&target, body)));
    }

    async fn write(&mut self, text: String) -> Result<()> {
        match &mut self.way {
            Way::Engine(engine) => engine.send(&text).await,
            Way::WebSocket(stream) => stream.send(Message::text(text)).await.map_err(Error::broken),
        }
    }
}

/// The body as the frame that this project's servers would have sent.
fn frame(target: &str, body: Value) -> Frame {
    let channel = format!("{}>{target}", body["f"].as_str().unwrap_or_default());
    let seq = body["n"].clone();
    Frame(json!({"type": "publication", "channel": channel, "seq": seq, "body": body}))
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::broken(format!("not JSON: {error}: {text}")))
}
