//! An exchange that gives no more messages at a time than it is asked for.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use crate::transport::inside::{Close, Exchange, Message, Refusal};

/// Keeps the messages that the exchange has given beyond that: those of the last frame
/// that it wrote.
pub(super) struct Portions {
    exchange: Box<dyn Exchange>,
    left: VecDeque<Message>,
    /// How the exchange has ended. Told once all messages before the end are taken.
    ended: Option<Close>,
}

impl Portions {
    pub(super) fn of(exchange: Box<dyn Exchange>) -> Self {
        Self { exchange, left: VecDeque::new(), ended: None }
    }
}

impl Exchange for Portions {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange.poll_ready(cx)
    }

    fn hear(&mut self, message: Message) -> Result<(), Close> {
        self.exchange.hear(message)
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Message>,
        most: usize,
    ) -> Poll<Result<(), Close>> {
        if self.left.is_empty() {
            let room = out.len() + most;
            self.ended = ready!(self.exchange.poll_say(cx, out, most)).err();
            if out.len() > room {
                self.left = out.split_off(room).into();
            }
        } else {
            out.extend(self.left.drain(..most.min(self.left.len())));
        }
        match self.ended.take_if(|_| self.left.is_empty()) {
            Some(close) => Poll::Ready(Err(close)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.exchange.hold(bytes)
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange.poll_over(cx)
    }

    fn lose(&mut self) -> Close {
        self.exchange.lose()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Gives three messages at once, and then ends.
    struct Three;

    impl Exchange for Three {
        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }

        fn hear(&mut self, _message: Message) -> Result<(), Close> {
            Ok(())
        }

        fn poll_say(
            &mut self,
            _cx: &mut Context<'_>,
            out: &mut Vec<Message>,
            _most: usize,
        ) -> Poll<Result<(), Close>> {
            out.extend(["one", "two", "three"].map(|text| Message::Text(text.to_owned())));
            Poll::Ready(Err(Close::new(1000, "")))
        }
    }

    #[test]
    fn no_more_is_said_than_asked_for_and_the_end_comes_last() {
        let mut portions = Portions::of(Box::new(Three));
        let mut cx = Context::from_waker(Waker::noop());
        let mut out = Vec::new();
        assert!(matches!(portions.poll_say(&mut cx, &mut out, 2), Poll::Ready(Ok(()))));
        assert_eq!(out.len(), 2);
        assert!(matches!(portions.poll_say(&mut cx, &mut out, 2), Poll::Ready(Err(_))));
        let texts: Vec<_> = ["one", "two", "three"].map(|text| Message::Text(text.to_owned())).into();
        assert_eq!(out, texts);
    }
}
