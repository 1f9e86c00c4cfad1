//! SockJS over a WebSocket, with its frames or raw. Such a session has no name:
//! it lives as long as its socket.

use std::collections::VecDeque;

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;

use super::frame::{Frame, messages_of_text};
use super::{Service, refuse, text};
use crate::transport::inside::{Close, Message};
use crate::transport::websocket::carry::{Framing, Plain, carry};
use crate::transport::websocket::connection::Terms;
use crate::transport::websocket::handshake;

/// For a client that sends what is no frame of SockJS's.
const BROKEN: Close = Close::new(1002, "Broken framing.");

/// Answers a handshake, once the session has been let in.
pub(super) async fn open(service: &Service, raw: bool, mut request: Request) -> Response {
    let (upgrade, accept) = match handshake::accept(&mut request) {
        Ok(accepted) => accepted,
        Err(failure) => return text(StatusCode::BAD_REQUEST, failure.message),
    };
    let (mut parts, _) = request.into_parts();
    // A session by WebSocket has no name, but an owner like any other.
    let opened = match service.host.owner(&mut parts).await {
        Ok(_) => service.host.open(&parts).await,
        Err(refusal) => Err(refusal),
    };
    let exchange = match opened {
        Ok(exchange) => exchange,
        Err(refusal) => return refuse(refusal),
    };
    let interval = service.options.heartbeat;
    let terms = Terms { interval, silence: interval * 2, most: service.options.max_body_bytes };
    if raw {
        service.tracker.spawn(carry(upgrade, exchange, Plain, terms));
    } else {
        service.tracker.spawn(carry(upgrade, exchange, Framed::default(), terms));
    }
    handshake::answer(accept, None)
}

/// A frame in each text message.
#[derive(Default)]
struct Framed {
    /// The client has sent what is none.
    broken: bool,
}

impl Framed {
    fn messages(message: &Message) -> Option<Vec<String>> {
        let Message::Text(text) = message else { return None };
        messages_of_text(text).ok()
    }
}

impl Framing for Framed {
    fn begin(&mut self) -> Option<String> {
        Some(Frame::Open.text().into_owned())
    }

    fn say(&mut self, messages: &mut Vec<Message>, out: &mut Vec<Message>) {
        let frame = Frame::Messages(std::mem::take(messages));
        out.push(Message::Text(frame.text().into_owned()));
    }

    fn hear(&mut self, message: Message, out: &mut VecDeque<Message>) -> Result<(), Close> {
        let Some(messages) = Self::messages(&message) else {
            self.broken = true;
            return Err(BROKEN);
        };
        out.extend(messages.into_iter().map(Message::Text));
        Ok(())
    }

    fn heartbeat(&mut self) -> Option<String> {
        Some(Frame::Heartbeat.text().into_owned())
    }

    /// The close frame of SockJS says why; that of the WebSocket only that it is
    /// over. A peer that does not keep to SockJS's frames gets none of them.
    fn end(&mut self, close: Close) -> (Option<String>, Close) {
        if self.broken {
            return (None, close);
        }
        (Some(Frame::Close(close).text().into_owned()), Close::new(1000, "Normal closure"))
    }
}
