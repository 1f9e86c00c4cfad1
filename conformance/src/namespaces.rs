//! The namespaces that Socket.IO's suite expects.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use gateway::transport::inside::Refusal;
use gateway::transport::socketio::{Connecting, Event, Leave, Namespaces, Payload, Said, Socket, Visitor};
use http::request::Parts;

const NAMESPACES: [&str; 2] = ["/", "/custom"];
/// Bytes that are heard and not said yet, beyond which nothing more is heard.
const MOST: usize = 1 << 20;

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

struct Echo {
    said: VecDeque<Said>,
    bytes: usize,
    ready: Option<Waker>,
    say: Option<Waker>,
}

impl Echo {
    /// It begins with what the client gave as `auth`.
    fn new(auth: Option<String>) -> Self {
        let auth = auth.unwrap_or_else(|| "{}".to_owned());
        let first = Said::Event(None, Payload::text(format!(r#"["auth",{auth}]"#)));
        Self { bytes: weight(&first), said: VecDeque::from([first]), ready: None, say: None }
    }
}

impl Socket for Echo {
    fn connected(&self) -> String {
        format!(r#"{{"sid":"{:032x}"}}"#, rand::random::<u128>())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes < MOST {
            return Poll::Ready(());
        }
        self.ready = Some(cx.waker().clone());
        Poll::Pending
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
        self.bytes += weight(&said);
        self.said.push_back(said);
        wake(&mut self.say);
        Ok(())
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Said>,
        most: usize,
    ) -> Poll<Result<(), Leave>> {
        if self.said.is_empty() {
            self.say = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = out.len();
        out.extend(self.said.drain(..most.min(self.said.len())));
        self.bytes -= out[before..].iter().map(weight).sum::<usize>();
        wake(&mut self.ready);
        Poll::Ready(Ok(()))
    }
}

fn weight(said: &Said) -> usize {
    let (Said::Event(_, payload) | Said::Ack(_, payload)) = said;
    payload.json.len() + payload.attachments.iter().map(bytes::Bytes::len).sum::<usize>()
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}
