//! Says what it hears.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use gateway::transport::inside::{Close, Exchange, Inside, Message, Refusal};
use http::request::Parts;

/// Bytes that are heard and not said yet, beyond which nothing more is heard.
const MOST: usize = 1 << 20;
/// What a message takes beside its bytes, about.
const MESSAGE: usize = 64;

/// An echo for each client.
pub(crate) struct Echo;

#[async_trait]
impl Inside for Echo {
    async fn open(&self, _request: &Parts) -> Result<Box<dyn Exchange>, Refusal> {
        Ok(Box::new(Heard::default()))
    }
}

#[derive(Default)]
struct Heard {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Who waits until there is room, and who waits for a message.
    ready: Option<Waker>,
    say: Option<Waker>,
}

impl Exchange for Heard {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes < MOST {
            return Poll::Ready(());
        }
        self.ready = Some(cx.waker().clone());
        Poll::Pending
    }

    fn hear(&mut self, message: Message) -> Result<(), Close> {
        self.bytes += weight(&message);
        self.messages.push_back(message);
        wake(&mut self.say);
        Ok(())
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Message>,
        most: usize,
    ) -> Poll<Result<(), Close>> {
        if self.messages.is_empty() {
            self.say = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = out.len();
        out.extend(self.messages.drain(..most.min(self.messages.len())));
        self.bytes -= out[before..].iter().map(weight).sum::<usize>();
        wake(&mut self.ready);
        Poll::Ready(Ok(()))
    }
}

fn weight(message: &Message) -> usize {
    MESSAGE
        + match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        }
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}
