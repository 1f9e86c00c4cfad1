//! Our own frames inside another protocol's framing: each message is one frame of
//! JSON, either way, of a session like any other.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use http::request::Parts;
use proto::{Class, UserId};

use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::protocol::command::MAX_FRAME_BYTES;
use crate::protocol::failure::Failure;
use crate::protocol::query::Query;
use crate::session::tail::StartAt;
use crate::transport::inside::{Close, Exchange, Host, Inside, Message, Refusal};
use crate::transport::two_way::{TwoWay, refusal};

/// Begins sessions of this gateway.
pub(super) struct JsonFrames {
    pub(super) gateway: Arc<Gateway>,
    /// The framing's name in metrics.
    pub(super) name: &'static str,
}

impl JsonFrames {
    /// Who asks: as [`Host::owner`] has found out, or now.
    async fn caller(&self, request: &Parts) -> Result<Caller, Failure> {
        if let Some(known) = request.extensions.get::<Caller>() {
            return Ok(known.clone());
        }
        let query = Query::parse(request.uri.query().unwrap_or_default())?;
        self.gateway.callers.caller(&request.headers, &request.extensions, &query).await
    }

    async fn begin(&self, request: &Parts) -> Result<TwoWay, Failure> {
        let caller = self.caller(request).await?;
        let query = Query::parse(request.uri.query().unwrap_or_default())?;
        let from = StartAt::parse(query.get("cursor"))?;
        self.gateway.callers.rates.enter(caller.payer(), Class::Attach, 1).await?;
        TwoWay::open(&self.gateway, self.name, &caller, from).await
    }
}

#[async_trait]
impl Inside for JsonFrames {
    async fn open(&self, request: &Parts) -> Result<Box<dyn Exchange>, Refusal> {
        Ok(Box::new(JsonExchange(self.begin(request).await.map_err(refusal)?)))
    }
}

#[async_trait]
impl Host for JsonFrames {
    async fn owner(&self, request: &mut Parts) -> Result<UserId, Refusal> {
        let caller = self.caller(request).await.map_err(refusal)?;
        let user = caller.user.clone();
        request.extensions.insert(caller);
        Ok(user)
    }
}

struct JsonExchange(TwoWay);

impl Exchange for JsonExchange {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }

    fn hear(&mut self, message: Message) -> Result<(), Close> {
        match message {
            Message::Text(text) if text.len() > MAX_FRAME_BYTES => {
                return Err(Close::new(1009, "frame too large"));
            }
            Message::Text(text) => self.0.hear(|uplink| uplink.json(&text)),
            Message::Binary(_) => {
                let wrong = "frames are text messages here; this one is binary";
                self.0.hear(|uplink| uplink.no_frame(Failure::bad_request(wrong)));
            }
        }
        Ok(())
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Message>,
        most: usize,
    ) -> Poll<Result<(), Close>> {
        let mut frames = Vec::new();
        let next = ready!(self.0.poll_frames(cx, &mut frames, most));
        out.extend(frames.iter().map(|frame| Message::Text(frame.to_json())));
        Poll::Ready(next.map_err(Close::of))
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.0.hold(bytes).map_err(refusal)
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_over(cx)
    }

    fn lose(&mut self) -> Close {
        Close::of(self.0.lose())
    }
}
