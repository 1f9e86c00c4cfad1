//! Says what it hears.

use std::task::{Context, Poll};

use async_trait::async_trait;
use gateway::transport::inside::{Close, Exchange, Inside, Message, Refusal};
use http::request::Parts;

use crate::queue::Queue;

/// An echo for each client.
pub(crate) struct Echo;

#[async_trait]
impl Inside for Echo {
    async fn open(&self, _request: &Parts) -> Result<Box<dyn Exchange>, Refusal> {
        Ok(Box::new(Heard(Queue::new(Message::size))))
    }
}

struct Heard(Queue<Message>);

impl Exchange for Heard {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }

    fn hear(&mut self, message: Message) -> Result<(), Close> {
        self.0.push(message);
        Ok(())
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Message>,
        most: usize,
    ) -> Poll<Result<(), Close>> {
        self.0.poll_take(cx, out, most).map(Ok)
    }
}
