//! Engine.IO over a WebSocket: from the beginning, or after polls, when the client has
//! seen that the WebSocket works (it sends `2probe`, gets `3probe`, and sends `5` to
//! go on there).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::Response;
use tokio::time::timeout;

use super::client::Client;
use super::id;
use super::packet::{PROBE, Packet};
use super::refusal::Refusal;
use super::server::Server;
use crate::accept::Upgrade;
use crate::transport::inside::{Close, Message};
use crate::transport::websocket::carry::{Framing, Start, carry, carry_on};
use crate::transport::websocket::connection::{Terms, say_goodbye};
use crate::transport::websocket::socket::Socket;
use crate::transport::websocket::{codec, handshake};

/// The client has sent something that is no packet, or a packet that only a server
/// may send.
const BROKEN: Close = Close::new(1002, "not Engine.IO 4");
/// The client has closed.
const LEFT: Close = Close::new(1000, "");
/// The WebSocket was not the first one for this client, or it was not gone on with.
const NOT_TAKEN: Close = Close::new(1000, "no upgrade");

/// Begins with a new client on a WebSocket.
pub(super) async fn begin(server: &Arc<Server>, mut request: Request) -> Result<Response, Refusal> {
    let (upgrade, accept) = handshake::accept(&mut request).map_err(|_| Refusal::Request)?;
    let exchange = server.inside.open(&request.into_parts().0).await.map_err(Refusal::Inside)?;
    let first = server.opened(&id::new(&server.settings.node), false);
    let packets = Packets { first: Some(first) };
    server.tracker.spawn(carry(upgrade, exchange, packets, terms(server)));
    Ok(handshake::answer(accept, None))
}

/// Begins an upgrade: a WebSocket for a client that polls. A client has one upgrade at
/// a time. Another WebSocket is accepted and then closed, as clients understand that.
pub(super) fn upgrade(
    server: &Arc<Server>,
    client: Arc<Client>,
    mut request: Request,
) -> Result<Response, Refusal> {
    let (upgrade, accept) = handshake::accept(&mut request).map_err(|_| Refusal::Request)?;
    let taken = client.begin_upgrade();
    let server = server.clone();
    server.tracker.clone().spawn(async move {
        if taken {
            take_over(&server, &client, upgrade).await;
        } else if let Ok(upgraded) = upgrade.begun().await {
            let mut socket = Socket::new(upgraded, server.settings.max_payload);
            say_goodbye(&mut socket, NOT_TAKEN).await;
        }
    });
    Ok(handshake::answer(accept, None))
}

async fn take_over(server: &Server, client: &Client, upgrade: Upgrade) {
    let Ok(upgraded) = upgrade.begun().await else { return client.give_up_upgrade() };
    let mut socket = Socket::new(upgraded, server.settings.max_payload);
    let probed = timeout(server.settings.upgrade_timeout, probe(&mut socket, client)).await;
    let exchange = probed.ok().flatten().and_then(|()| client.upgrade());
    let Some((exchange, heartbeat, unheard)) = exchange else {
        client.give_up_upgrade();
        return say_goodbye(&mut socket, NOT_TAKEN).await;
    };
    let start = Start { ask: heartbeat.asks_next(), unheard };
    carry_on(socket, exchange, Packets { first: None }, terms(server), start).await;
    server.forget(client);
}

/// Waits until the client goes on over the WebSocket. `None` if it does not.
async fn probe(socket: &mut Socket, client: &Client) -> Option<()> {
    loop {
        let next = poll_fn(|cx| match client.poll_over(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => poll_packet(socket, cx),
        });
        match next.await? {
            Packet::Ping { probe: true } => {
                socket.push(codec::TEXT, format!("3{PROBE}").as_bytes());
                poll_fn(|cx| socket.poll_flush(cx)).await.ok()?;
                client.probed();
            }
            Packet::Upgrade => return Some(()),
            _ => return None,
        }
    }
}

/// The next packet. `None` if the peer has gone or has sent something else.
fn poll_packet(socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Option<Packet>> {
    loop {
        if ready!(socket.poll_flush(cx)).is_err() {
            return Poll::Ready(None);
        }
        let Ok(Some(mut heard)) = ready!(socket.poll_read(cx)) else { return Poll::Ready(None) };
        let (packet, whole) = match socket.decode(&mut heard) {
            Ok(Some(codec::Message::Text(text))) => (Some(Packet::decode(&text)), true),
            Ok(Some(codec::Message::Ping(payload))) => {
                socket.push(codec::PONG, payload);
                (None, true)
            }
            Ok(Some(codec::Message::Pong | codec::Message::Part)) => (None, true),
            Ok(None) => (None, false),
            Ok(Some(codec::Message::Binary(_) | codec::Message::Close(_))) | Err(_) => (Some(None), true),
        };
        socket.keep(heard, whole);
        if let Some(packet) = packet {
            return Poll::Ready(packet);
        }
    }
}

fn terms(server: &Server) -> Terms {
    let settings = &server.settings;
    Terms {
        interval: settings.ping_interval,
        silence: settings.ping_interval + settings.ping_timeout,
        most: settings.max_payload,
    }
}

/// One packet in each message.
struct Packets {
    first: Option<String>,
}

impl Framing for Packets {
    const PINGS: bool = false;

    fn begin(&mut self) -> Option<String> {
        self.first.take()
    }

    fn say(&mut self, messages: &mut Vec<Message>, out: &mut Vec<Message>) {
        out.extend(messages.drain(..).map(|message| match message {
            Message::Text(mut text) => {
                text.insert(0, '4');
                Message::Text(text)
            }
            bytes @ Message::Binary(_) => bytes,
        }));
    }

    fn hear(&mut self, message: Message, out: &mut VecDeque<Message>) -> Result<(), Close> {
        let packet = match message {
            Message::Text(text) => Packet::decode(&text).ok_or(BROKEN)?,
            bytes @ Message::Binary(_) => Packet::Message(bytes),
        };
        match packet {
            Packet::Message(message) => out.push_back(message),
            Packet::Close => return Err(LEFT),
            Packet::Pong | Packet::Upgrade | Packet::Idle => {}
            // Only the server sends `ping`.
            Packet::Ping { .. } => return Err(BROKEN),
        }
        Ok(())
    }

    fn heartbeat(&mut self) -> Option<String> {
        Some("2".to_owned())
    }
}
