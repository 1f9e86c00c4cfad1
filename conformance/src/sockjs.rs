//! SockJS's services, as its test suite expects them.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use gateway::peer::OtherGateways;
use gateway::transport::inside::{Close, Exchange, Host, Inside, Message, Refusal};
use gateway::transport::sockjs::{self, Options, RESPONSE_LIMIT, Surroundings};
use http::request::Parts;
use proto::UserId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::MAX_PAYLOAD;
use crate::echo::Echo;

/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// Bytes of an answer that streams, where the suite looks at it.
const LIMIT: usize = 4_096;

/// `/echo`, `/disabled_websocket_echo`, `/cookie_needed_echo` and `/close`.
pub(crate) fn routes(
    others: Option<&OtherGateways>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Router {
    let around =
        |host| Surroundings { host, others: others.cloned(), tracker: tracker.clone(), stop: stop.clone() };
    let plain = Options {
        websocket: true,
        cookie: false,
        heartbeat: HEARTBEAT,
        response_limit: RESPONSE_LIMIT,
        max_body_bytes: MAX_PAYLOAD,
        jsonp: true,
        client: "/sockjs.js".parse().ok(),
        ancestors: None,
    };
    let limited = Options { response_limit: LIMIT, ..plain.clone() };
    let without = Options { websocket: false, ..plain.clone() };
    let cookie = Options { cookie: true, ..plain.clone() };
    let echo: Arc<dyn Host> = Arc::new(Echo);
    sockjs::routes("/echo", limited, around(echo.clone()))
        .merge(sockjs::routes("/disabled_websocket_echo", without, around(echo.clone())))
        .merge(sockjs::routes("/cookie_needed_echo", cookie, around(echo)))
        .merge(sockjs::routes("/close", plain, around(Arc::new(Closing))))
}

/// Everybody is the same here.
fn anybody() -> UserId {
    UserId::parse("anybody").expect("it is made of letters")
}

#[async_trait]
impl Host for Echo {
    async fn owner(&self, _request: &mut Parts) -> Result<UserId, Refusal> {
        Ok(anybody())
    }
}

/// Ends each session at once.
struct Closing;

#[async_trait]
impl Inside for Closing {
    async fn open(&self, _request: &Parts) -> Result<Box<dyn Exchange>, Refusal> {
        Ok(Box::new(Closed))
    }
}

#[async_trait]
impl Host for Closing {
    async fn owner(&self, _request: &mut Parts) -> Result<UserId, Refusal> {
        Ok(anybody())
    }
}

struct Closed;

impl Exchange for Closed {
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn hear(&mut self, _message: Message) -> Result<(), Close> {
        Ok(())
    }

    fn poll_say(
        &mut self,
        _cx: &mut Context<'_>,
        _out: &mut Vec<Message>,
        _most: usize,
    ) -> Poll<Result<(), Close>> {
        Poll::Ready(Err(Close::new(3000, "Go away!")))
    }
}
