//! A session over polls: one request that receives and one that sends at a time, each
//! on a connection of its own. A request that is under way stays in here, so that a
//! caller may stop waiting for it.

use std::collections::VecDeque;
use std::fmt;

use futures_util::future::BoxFuture;
use futures_util::poll;

use super::Account;
use super::error::{Error, Result};
use super::http::{Answer, Http};

/// Texts that may wait to be posted; a program that sends more without reading is
/// broken instead of growing without end.
const UNSENT: usize = 100_000;

/// A request; with its answer the connection comes back.
pub(super) type Request = BoxFuture<'static, (Http, Result<Answer>)>;

/// What a protocol asks for in its polls.
pub(super) trait Polling: Send {
    /// Asks for what comes.
    fn receive(&self, http: Http) -> Request;

    /// Sends at least the first of these texts, and takes out those that it sends.
    fn send(&self, http: Http, unsent: &mut VecDeque<String>) -> Request;

    /// The texts in an answer to [`Self::receive`].
    fn received(&self, answer: Answer) -> Result<Vec<String>>;

    /// Fails unless this answer to [`Self::send`] is a good one.
    fn sent(&self, answer: Answer) -> Result<()>;
}

/// The polls of one session.
pub(super) struct Polls<P> {
    pub(super) protocol: P,
    down: Requests,
    up: Requests,
    arrived: VecDeque<String>,
    unsent: VecDeque<String>,
}

/// Requests of one kind, one at a time, over one connection.
enum Requests {
    Idle(Http),
    Asking(Request),
}

impl<P: Polling> Polls<P> {
    /// At the account's gateway; what is sent goes to its uplink, if it has one.
    pub(super) fn new(account: &Account, protocol: P) -> Result<Self> {
        Ok(Self {
            protocol,
            down: Requests::to(account, &account.gateway)?,
            up: Requests::to(account, account.uplink.as_deref().unwrap_or(&account.gateway))?,
            arrived: VecDeque::new(),
            unsent: VecDeque::new(),
        })
    }

    /// Sends a text. It is on its way when this returns, unless one before it is.
    pub(super) async fn write(&mut self, text: String) -> Result<()> {
        if self.unsent.len() >= UNSENT {
            return Err(Error::broken("too much that could not be sent"));
        }
        self.unsent.push_back(text);
        self.post();
        if let Requests::Asking(request) = &mut self.up
            && let std::task::Poll::Ready(done) = poll!(request)
        {
            self.posted(done)?;
        }
        Ok(())
    }

    /// The next text. Safe to drop half way.
    pub(super) async fn read(&mut self) -> Result<String> {
        loop {
            if let Some(text) = self.arrived.pop_front() {
                return Ok(text);
            }
            self.step().await?;
        }
    }

    /// Waits until everything was sent.
    pub(super) async fn flush(&mut self) -> Result<()> {
        loop {
            self.step().await?;
            if self.unsent.is_empty() && matches!(self.up, Requests::Idle(_)) {
                return Ok(());
            }
        }
    }

    /// Goes on until the server has answered one request. Safe to drop.
    async fn step(&mut self) -> Result<()> {
        self.post();
        let down = self.down.ask(|http| self.protocol.receive(http));
        let up = async {
            match &mut self.up {
                Requests::Asking(request) => request.await,
                Requests::Idle(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            done = up => self.posted(done),
            (http, answer) = down => {
                self.down = Requests::Idle(http);
                self.arrived.extend(self.protocol.received(answer?)?);
                Ok(())
            }
        }
    }

    /// Begins to send what waits, unless a request is under way.
    fn post(&mut self) {
        if !self.unsent.is_empty() && matches!(self.up, Requests::Idle(_)) {
            self.up.ask(|http| self.protocol.send(http, &mut self.unsent));
        }
    }

    fn posted(&mut self, (http, answer): (Http, Result<Answer>)) -> Result<()> {
        self.up = Requests::Idle(http);
        self.protocol.sent(answer?)?;
        self.post();
        Ok(())
    }
}

impl Requests {
    /// To this gateway, without the account's token.
    fn to(account: &Account, gateway: &str) -> Result<Self> {
        let account = Account { gateway: gateway.to_owned(), token: String::new(), ..account.clone() };
        Ok(Self::Idle(Http::new(&account)?))
    }

    /// The request that is under way, begun if there is none.
    fn ask(&mut self, begin: impl FnOnce(Http) -> Request) -> &mut Request {
        if matches!(self, Self::Idle(_)) {
            let nobody = Self::Asking(Box::pin(std::future::pending()));
            if let Self::Idle(http) = std::mem::replace(self, nobody) {
                *self = Self::Asking(begin(http));
            }
        }
        match self {
            Self::Asking(request) => request,
            Self::Idle(_) => unreachable!("it was begun above"),
        }
    }
}

impl<P> fmt::Debug for Polls<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polls").finish_non_exhaustive()
    }
}
