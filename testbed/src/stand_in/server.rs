//! Connections and subscriptions of a stand-in, and how it is served.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::database::{Answer, Database, Text};
use super::protocol;
use super::scripts::Scripts;
use crate::Reply;

/// The most bytes read at once.
const READ: usize = 64 << 10;
/// Messages that one who has subscribed has not been sent. Further ones end the
/// connection, as a Redis does whose buffer for it is full.
const UNSENT: usize = 65_536;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    GoesOn,
    /// It ends.
    Ends,
}

/// What goes wrong at a stand-in. It is asked at every command.
pub trait Faults {
    /// Before a command is done, which is not done if the connection ends.
    fn before(&mut self, command: &[Text]) -> Fate;
    /// After it was done, when nothing of the reply has been sent yet.
    fn after(&mut self, command: &[Text]) -> Fate;
    /// What those who have subscribed hear, instead of this message.
    fn published(&mut self, message: &[u8]) -> Vec<Text>;
}

/// Nothing goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn before(&mut self, _: &[Text]) -> Fate {
        Fate::GoesOn
    }

    fn after(&mut self, _: &[Text]) -> Fate {
        Fate::GoesOn
    }

    fn published(&mut self, message: &[u8]) -> Vec<Text> {
        vec![message.to_vec()]
    }
}

/// A server that has no socket of its own: it is given connections.
pub struct StandIn {
    database: Rc<RefCell<Database>>,
    scripts: Scripts,
    subscribers: RefCell<Vec<Subscriber>>,
    faults: RefCell<Box<dyn Faults>>,
}

struct Subscriber {
    channel: Text,
    pushed: mpsc::Sender<Vec<u8>>,
    ended: CancellationToken,
}

impl StandIn {
    /// A server with this data. It knows no scripts: Redis forgets them when it ends.
    pub fn new(database: Rc<RefCell<Database>>, faults: Box<dyn Faults>) -> Result<Self> {
        let scripts = Scripts::new(&database).map_err(|error| anyhow::anyhow!("no Lua: {error}"))?;
        Ok(Self { database, scripts, subscribers: RefCell::default(), faults: RefCell::new(faults) })
    }

    /// Serves connections as they come, until it is dropped.
    pub async fn serve<S>(&self, connections: impl Stream<Item = S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut connections = std::pin::pin!(connections);
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(connection) = connections.next() => open.push(self.connection(connection)),
                Some(()) = open.next() => {}
                else => return,
            }
        }
    }

    async fn connection(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (pusher, mut pushed) = mpsc::channel(UNSENT);
        let ended = CancellationToken::new();
        let (mut read, mut out, mut buffer) = (Vec::new(), Vec::new(), vec![0; READ]);
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                Some(message) = pushed.recv() => out.extend(message),
                count = stream.read(&mut buffer) => match count {
                    Ok(0) | Err(_) => return,
                    Ok(count) => read.extend_from_slice(&buffer[..count]),
                },
            }
            loop {
                let words = match protocol::command(&mut read) {
                    Ok(Some(words)) => words,
                    Ok(None) => break,
                    Err(error) => {
                        protocol::put(&mut out, &Reply::Error(error));
                        let _ = stream.write_all(&out).await;
                        return;
                    }
                };
                if self.faults.borrow_mut().before(&words) == Fate::Ends {
                    return;
                }
                let reply = self.answer(&words, &pusher, &ended).unwrap_or_else(Reply::Error);
                if self.faults.borrow_mut().after(&words) == Fate::Ends {
                    return;
                }
                protocol::put(&mut out, &reply);
            }
            if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            out.clear();
        }
    }

    fn answer(&self, words: &[Text], pusher: &mpsc::Sender<Vec<u8>>, ended: &CancellationToken) -> Answer {
        let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        match (&name[..], words) {
            (b"EVAL", [_, text, args @ ..]) => self.scripts.eval(&self.database, text, args),
            (b"EVALSHA", [_, hash, args @ ..]) => self.scripts.evalsha(&self.database, hash, args),
            (b"SUBSCRIBE", [_, channel]) => {
                let (pushed, ended) = (pusher.clone(), ended.clone());
                let subscriber = Subscriber { channel: channel.clone(), pushed, ended };
                self.subscribers.borrow_mut().push(subscriber);
                let bytes = |text: &[u8]| Reply::Bytes(text.to_vec());
                Ok(Reply::List(vec![bytes(b"subscribe"), bytes(channel), Reply::Integer(1)]))
            }
            (b"PUBLISH", [_, channel, message]) => Ok(self.publish(channel, message)),
            _ => self.database.borrow_mut().command(words),
        }
    }

    fn publish(&self, channel: &Text, message: &Text) -> Reply {
        let mut subscribers = self.subscribers.borrow_mut();
        subscribers.retain(|subscriber| !subscriber.pushed.is_closed());
        let heard = self.faults.borrow_mut().published(message);
        let mut reached = 0;
        for subscriber in subscribers.iter().filter(|subscriber| subscriber.channel == *channel) {
            reached += 1;
            for message in &heard {
                let words = [&b"message"[..], channel, message].map(|word| Reply::Bytes(word.to_vec()));
                let mut bytes = Vec::new();
                protocol::put(&mut bytes, &Reply::List(words.to_vec()));
                // Its connection may have ended this moment, or takes too little.
                if subscriber.pushed.try_send(bytes).is_err() {
                    subscriber.ended.cancel();
                }
            }
        }
        Reply::Integer(reached)
    }
}

/// A stand-in on a socket of the kernel, with this machine's clock. It ends with the
/// value.
#[derive(Debug)]
pub struct StandInServer {
    port: u16,
    _end: oneshot::Sender<()>,
}

impl StandInServer {
    /// Starts one, in a thread of its own.
    pub async fn start() -> Result<Self> {
        let (begun, begins) = oneshot::channel();
        let (end, ends) = oneshot::channel::<()>();
        std::thread::Builder::new().name("stand-in".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let serve = async {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let _ = begun.send(listener.local_addr()?.port());
                let clock = Box::new(|| SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default());
                let database = Rc::new(RefCell::new(Database::new(clock, &"1".repeat(40))));
                let stand_in = StandIn::new(database, Box::new(NoFaults))?;
                let connections = futures_util::stream::unfold(listener, async |listener| {
                    let accepted = listener.accept().await.ok()?.0;
                    let _ = accepted.set_nodelay(true);
                    Some((accepted, listener))
                });
                tokio::select! {
                    () = stand_in.serve(connections) => {}
                    _ = ends => {}
                }
                Ok::<_, anyhow::Error>(())
            };
            if let Err(error) = runtime.context("a runtime").and_then(|runtime| runtime.block_on(serve)) {
                eprintln!("the stand-in for Redis ended: {error:#}");
            }
        })?;
        Ok(Self { port: begins.await.context("the stand-in began")?, _end: end })
    }

    /// Where the store finds it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }
}
