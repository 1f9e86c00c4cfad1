//! The namespaces that Socket.IO's suite expects.

use std::task::{Context, Poll};

use async_trait::async_trait;
use gateway::transport::inside::Refusal;
use gateway::transport::socketio::{Connecting, Event, Leave, Namespaces, Payload, Said, Socket, Visitor};
use http::request::Parts;

use crate::queue::Queue;

const NAMESPACES: [&str; 2] = ["/", "/custom"];

/// Says what it hears under other names.
pub(crate) struct Echoes;

#[async_trait]
impl Namespaces for Echoes {
    async fn open(&self, _request: &Parts) -> Result<Box<dyn Visitor>, Refusal> {
        Ok(Box::new(Anybody))
    }
}

struct Anybody;

impl Visitor for Anybody {
    fn connect(&mut self, namespace: &str, auth: Option<String>) -> Option<Connecting> {
        NAMESPACES.contains(&namespace).then(|| {
            let socket: Box<dyn Socket> = Box::new(Echo::new(auth));
            let connecting: Connecting = Box::pin(async move { Ok(socket) });
            connecting
        })
    }
}

struct Echo(Queue<Said>);

impl Echo {
    /// It begins with what the client gave as `auth`.
    fn new(auth: Option<String>) -> Self {
        let auth = auth.unwrap_or_else(|| "{}".to_owned());
        let mut queue = Queue::new(size);
        queue.push(Said::Event(None, Payload::text(format!(r#"["auth",{auth}]"#))));
        Self(queue)
    }
}

impl Socket for Echo {
    fn connected(&self) -> String {
        format!(r#"{{"sid":"{:032x}"}}"#, rand::random::<u128>())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }

    fn hear(&mut self, event: Event<'_>) -> Result<(), Leave> {
        let elements: Vec<&str> = event.elements.iter().map(|element| element.get()).collect();
        let elements = elements.join(",");
        let payload = |json| Payload { json, attachments: event.attachments };
        let said = match (event.name.as_str(), event.id) {
            ("message", _) if elements.is_empty() => {
                Said::Event(None, payload(r#"["message-back"]"#.to_owned()))
            }
            ("message", _) => Said::Event(None, payload(format!(r#"["message-back",{elements}]"#))),
            ("message-with-ack", Some(id)) => Said::Ack(id, payload(format!("[{elements}]"))),
            _ => return Ok(()),
        };
        self.0.push(said);
        Ok(())
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Said>,
        most: usize,
    ) -> Poll<Result<(), Leave>> {
        self.0.poll_take(cx, out, most).map(Ok)
    }
}

fn size(said: &Said) -> usize {
    let (Said::Event(_, payload) | Said::Ack(_, payload)) = said;
    payload.json.len() + payload.attachments.iter().map(bytes::Bytes::len).sum::<usize>()
}
