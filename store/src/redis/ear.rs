//! What hears a node's channel. On a single server or behind Sentinel it is a
//! connection of our own, to the server that commands go to; in a Cluster it is
//! fred's, which knows where the channel's slot is.
//!
//! Either one is a task, which gives what it hears to a short queue. It waits while
//! that is full; then Redis keeps what comes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::connection::{Connection, channel};
use super::dial::{Stream, dial};
use super::reconnect::Reconnect;
use super::resp::{Decoder, Reply, put_command, put_word};
use super::watchdog::connected;
use crate::trouble;

/// What was heard and not taken yet.
const UNTAKEN: usize = 64;
/// How long connecting and subscribing may take.
const SUBSCRIBE: Duration = Duration::from_secs(2);
/// How often fred is asked to subscribe where that has failed.
const AGAIN: Duration = Duration::from_secs(1);
/// The part of the buffer that is free before each read.
const ROOM: usize = 16 << 10;

/// What an ear hears.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// What was published.
    Message(Bytes),
    /// It has subscribed anew: what was published meanwhile was not heard.
    Deaf,
    /// Messages were dropped, since this process did not take them.
    Lagged,
}

/// The handle; the ear ends with it.
pub(super) struct Ear {
    heard: mpsc::Receiver<Heard>,
    anew: Arc<Notify>,
    _end: DropGuard,
}

impl Ear {
    /// Begins to subscribe to a node's channel, at the server that `connection` uses.
    pub(super) fn open(address: &Address, node: &str, connection: &Connection, tasks: &TaskTracker) -> Self {
        let (give, heard) = mpsc::channel(UNTAKEN);
        let (anew, end) = (Arc::<Notify>::default(), CancellationToken::new());
        let channel = channel(node);
        let hearing = Hearing { channel, give, anew: anew.clone(), end: end.clone() };
        match connection.server() {
            Some(server) => {
                let own = OwnEar { address: address.clone(), server };
                tasks.spawn(own.run(hearing));
            }
            None => {
                tasks.spawn(in_cluster(address.subscriber(), hearing));
            }
        }
        Self { heard, anew, _end: end.drop_guard() }
    }

    /// The next thing that is heard. Safe to drop half way.
    pub(super) async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // The process ends.
            None => std::future::pending().await,
        }
    }

    /// Connects and subscribes anew: whatever made the ear deaf (a moved slot, a
    /// primary that hangs), new connections work.
    pub(super) fn renew(&self) {
        self.anew.notify_one();
    }
}

/// The task's side.
struct Hearing {
    channel: String,
    give: mpsc::Sender<Heard>,
    anew: Arc<Notify>,
    end: CancellationToken,
}

impl Hearing {
    async fn give(&self, heard: Heard) {
        // Without a receiver the end has come.
        let _ = self.give.send(heard).await;
    }
}

/// A connection of our own.
struct OwnEar {
    address: Address,
    /// The server that commands go to.
    server: watch::Receiver<Option<Server>>,
}

impl OwnEar {
    async fn run(mut self, hearing: Hearing) {
        let end = hearing.end.clone();
        end.run_until_cancelled(self.keep_hearing(&hearing)).await;
    }

    async fn keep_hearing(&mut self, hearing: &Hearing) {
        let (mut reconnect, mut is_first) = (Reconnect::new(), true);
        loop {
            let server = match self.server.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(server)) => server.clone(),
                _ => return,
            };
            reconnect.begin();
            tokio::select! {
                why = self.hear(&server, hearing, &mut is_first) => trouble::BUS.no_connection(&why),
                () = hearing.anew.notified() => {}
                () = other_than(self.server.clone(), &server) => {}
            }
            sleep(reconnect.wait()).await;
        }
    }

    /// Hears over one connection until that ends; says why it did.
    async fn hear(&self, server: &Server, hearing: &Hearing, is_first: &mut bool) -> String {
        let subscribed = timeout(SUBSCRIBE, Line::subscribe(&self.address, server, &hearing.channel));
        let mut line = match subscribed.await {
            Ok(Ok(line)) => line,
            Ok(Err(why)) => return why,
            Err(_) => return format!("no answer within {SUBSCRIBE:?} while subscribing"),
        };
        if !std::mem::take(is_first) {
            hearing.give(Heard::Deaf).await;
        }
        loop {
            match line.next().await {
                Ok(reply) => match published(reply) {
                    Some(message) => hearing.give(Heard::Message(message)).await,
                    None => return "redis sent something else to a subscription".to_owned(),
                },
                Err(why) => return why,
            }
        }
    }
}

/// Returns when commands go to another server than this one.
async fn other_than(mut servers: watch::Receiver<Option<Server>>, server: &Server) {
    let is_other = |named: &Option<Server>| named.as_ref().is_some_and(|named| named != server);
    let process_ends = servers.wait_for(is_other).await.is_err();
    if process_ends {
        std::future::pending().await
    }
}

/// A connection that has subscribed.
struct Line {
    stream: Box<dyn Stream>,
    read: BytesMut,
    decoder: Decoder,
}

impl Line {
    async fn subscribe(address: &Address, server: &Server, channel: &str) -> Result<Self, String> {
        let stream = dial(address, server).await?;
        let mut line = Self { stream, read: BytesMut::new(), decoder: Decoder::default() };
        let mut command = BytesMut::new();
        put_command(&mut command, 2);
        put_word(&mut command, b"SUBSCRIBE");
        put_word(&mut command, channel.as_bytes());
        line.stream.write_all(&command).await.map_err(|error| error.to_string())?;
        line.stream.flush().await.map_err(|error| error.to_string())?;
        match line.next().await? {
            Reply::List(words) if words.first() == Some(&Reply::Text(Bytes::from_static(b"subscribe"))) => {
                Ok(line)
            }
            Reply::Refusal(text) => Err(String::from_utf8_lossy(&text).into_owned()),
            _ => Err("redis sent something else than that it has subscribed".to_owned()),
        }
    }

    async fn next(&mut self) -> Result<Reply, String> {
        loop {
            if let Some(reply) = self.decoder.next(&mut self.read).map_err(|error| error.to_string())? {
                return Ok(reply);
            }
            self.read.reserve(ROOM);
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) => return Err("redis closed the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// What was published, if this says that something was. It is copied out of what was
/// read: who keeps a short message for long must not keep the buffer with it.
fn published(reply: Reply) -> Option<Bytes> {
    let Reply::List(words) = reply else { return None };
    match <[Reply; 3]>::try_from(words) {
        Ok([Reply::Text(kind), Reply::Text(_), Reply::Text(message)]) if kind == "message" => {
            Some(Bytes::copy_from_slice(&message))
        }
        _ => None,
    }
}

/// fred's ear, in a Cluster. In order of priority: the end; a reconnection or moved
/// slots, after which the subscription is gone; to be made anew; another attempt to
/// subscribe; a message.
async fn in_cluster(client: SubscriberClient, hearing: Hearing) {
    let mut messages = client.message_rx();
    let end = hearing.end.clone();
    client.connect();
    end.run_until_cancelled(async {
        connected(&client).await;
        let mut subscribed = listen(&client, &hearing.channel).await;
        let (mut reconnects, mut moves) = (client.reconnect_rx(), client.cluster_change_rx());
        let mut again = interval_at(Instant::now() + AGAIN, AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                reconnected = reconnects.recv() => {
                    if matches!(reconnected, Err(RecvError::Closed)) {
                        return;
                    }
                    subscribed = listen(&client, &hearing.channel).await;
                    hearing.give(Heard::Deaf).await;
                }
                moved = moves.recv() => {
                    if matches!(moved, Err(RecvError::Closed)) {
                        return;
                    }
                    subscribed = listen(&client, &hearing.channel).await;
                    hearing.give(Heard::Deaf).await;
                }
                () = hearing.anew.notified() => {
                    let connected = timeout(AGAIN * 4, client.force_reconnection()).await;
                    subscribed = matches!(connected, Ok(Ok(()))) && listen(&client, &hearing.channel).await;
                    // Our own reconnections are reported, too.
                    reconnects = reconnects.resubscribe();
                    hearing.give(Heard::Deaf).await;
                }
                _ = again.tick() => {
                    if !subscribed && client.is_connected() {
                        hearing.anew.notify_one();
                    }
                }
                message = messages.recv() => match message {
                    Ok(message) => {
                        if let Some(bytes) = message.value.into_bytes() {
                            hearing.give(Heard::Message(bytes)).await;
                        }
                    }
                    Err(RecvError::Lagged(_)) => hearing.give(Heard::Lagged).await,
                    Err(RecvError::Closed) => return,
                },
            }
        }
    })
    .await;
    let _ = timeout(Duration::from_millis(200), client.quit()).await;
}

async fn listen(client: &SubscriberClient, channel: &str) -> bool {
    let done = client.ssubscribe(channel).await;
    if let Err(error) = &done {
        trouble::BUS.no_connection(error.details());
    }
    done.is_ok()
}
