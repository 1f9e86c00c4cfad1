//! A store's connection to Redis (in a Cluster one to each primary), its
//! watchdog, and the running of scripts.

use std::time::Duration;

use bytes::Bytes;
use fred::bytes_utils::Str;
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, Resp3Frame};
use fred::types::config::Server;
use fred::types::{ClusterHash, CustomCommand, Value};
use futures_util::future::try_join_all;
use proto::Bound;
use smallvec::SmallVec;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::doubt::Doubt;
use super::key::{Bucket, COMMON_TAG};
use super::reply::Row;
use super::script::Script;
use crate::trouble::{Reason, Trouble};
use crate::{Error, Result};

/// A primary that does not answer a PING within this time is given up: its
/// connections are made again, to whichever is the primary then.
const HUNG: Duration = Duration::from_secs(2);
/// How long a call waits for a connection that is being made.
const CONNECTING: Duration = Duration::from_secs(1);

/// The most bytes that one call sends and receives, over all its items. Such a
/// call blocks Redis for some milliseconds.
pub(super) const CALL_BYTES: usize = 1 << 20;
/// The most calls at once in a Cluster, each for another bucket. On a single
/// server there is one at a time, so that others' calls get in between.
const CALLS: usize = 16;

/// One item of a script's call: what it does for one user or conversation.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) bucket: Bucket,
    pub(super) args: Args,
    /// The bytes that its row may have, if more than a few.
    answer: usize,
}

/// The arguments; those of frequent scripts fit into the item itself.
pub(super) type Args = SmallVec<[Value; 4]>;

impl Item {
    pub(super) fn new(bucket: Bucket, args: Args) -> Self {
        Self { bucket, args, answer: 0 }
    }

    /// Says how many bytes its row may have.
    pub(super) fn answering(self, bytes: usize) -> Self {
        Self { answer: bytes, ..self }
    }

    /// The bytes of the item in a call, in both directions.
    fn weight(&self) -> usize {
        let size = |value: &Value| match value {
            Value::Bytes(bytes) => bytes.len(),
            Value::String(text) => text.len(),
            _ => 8,
        };
        self.answer + self.args.iter().map(size).sum::<usize>()
    }
}

/// A connection for commands.
#[derive(Clone)]
pub(super) struct Connection {
    client: Client,
    cluster: bool,
    timeout: Duration,
    trouble: &'static Trouble,
    /// A script may have run whose reply did not come.
    doubt: Doubt,
}

impl Connection {
    /// Starts to connect. The watchdog runs on `tasks` until `shutdown`.
    pub(super) fn open(
        address: &Address,
        trouble: &'static Trouble,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let client = address.client();
        tasks.spawn(note_errors(client.error_rx(), trouble, shutdown.clone()));
        client.connect();
        tasks.spawn(watch(client.clone(), trouble, shutdown.clone()));
        let doubt = Doubt::default();
        Self { client, cluster: address.is_cluster(), timeout: address.timeout(), trouble, doubt }
    }

    /// Whether a script may have written something that nobody knows of.
    pub(super) fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    pub(super) fn trouble(&self) -> &'static Trouble {
        self.trouble
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// Waits until there is a connection. Fails after `wait`.
    pub(super) async fn connected(&self, wait: Duration) -> Result<()> {
        if self.client.is_connected() {
            return Ok(());
        }
        match timeout(wait, connected(&self.client)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::Unavailable(self.trouble.now().unwrap_or_else(|| "not connected".into()))),
        }
    }

    /// Runs a script for every item and returns a row for each. A call has at
    /// most `per_call` items and [`CALL_BYTES`]. Calls run one after the other,
    /// so that others' calls get in between. In a Cluster a call has only items
    /// of one bucket.
    pub(super) async fn run(
        &self,
        script: &'static Script,
        common: &[Value],
        items: Vec<Item>,
        per_call: usize,
    ) -> Result<Vec<Row>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        self.connected(CONNECTING).await?;
        let call = Bound::new(CALL_BYTES, per_call);
        if self.cluster {
            return self.run_by_bucket(script, common, items, call).await;
        }
        let mut rows = Vec::with_capacity(items.len());
        for run in call.runs(&items, Item::weight) {
            rows.extend(self.one(script, None, common, run).await?);
        }
        Ok(rows)
    }

    /// Runs a script once, for as many of the first items as it handles in one
    /// call. Returns the first row, which is for the call as a whole, and one
    /// for each of these items. Not for a Cluster.
    pub(super) async fn run_some(
        &self,
        script: &'static Script,
        common: &[Value],
        items: &[Item],
    ) -> Result<(Row, Vec<Row>)> {
        self.connected(CONNECTING).await?;
        let mut rows = Row::rows(self.eval(script, None, common, items).await?)?;
        if rows.is_empty() || rows.len() > items.len() + 1 {
            return Err(Error::Corrupt(format!("script {} gave {} rows", script.name, rows.len())));
        }
        Ok((rows.remove(0), rows))
    }

    /// The error of a script that says itself which command was refused.
    pub(super) fn refused(&self, script: &'static Script, text: &str) -> Error {
        let error = from_server(text);
        if let Error::Unavailable(text) = &error {
            self.trouble.refused(script.name, text);
        }
        error
    }

    /// Runs calls that each have items of one bucket, in their order.
    async fn run_by_bucket(
        &self,
        script: &'static Script,
        common: &[Value],
        items: Vec<Item>,
        call: Bound,
    ) -> Result<Vec<Row>> {
        let mut indexed: Vec<(usize, Item)> = items.into_iter().enumerate().collect();
        // The sort is stable: items of one bucket keep their order.
        indexed.sort_by_key(|(_, item)| item.bucket);
        let (order, items): (Vec<usize>, Vec<Item>) = indexed.into_iter().unzip();
        let runs: Vec<&[Item]> = items
            .chunk_by(|a, b| a.bucket == b.bucket)
            .flat_map(|group| call.runs(group, Item::weight))
            .collect();
        let mut answers = Vec::with_capacity(items.len());
        for some in runs.chunks(CALLS) {
            let calls = some.iter().map(|run| self.one(script, Some(run[0].bucket), common, run));
            answers.extend(try_join_all(calls).await?.into_iter().flatten());
        }
        let mut rows: Vec<Option<Row>> = std::iter::repeat_with(|| None).take(items.len()).collect();
        for (index, row) in order.into_iter().zip(answers) {
            rows[index] = Some(row);
        }
        Ok(rows.into_iter().map(|row| row.expect("every index is in one call")).collect())
    }

    /// One call, which returns as many rows as it has items.
    async fn one(
        &self,
        script: &'static Script,
        bucket: Option<Bucket>,
        common: &[Value],
        items: &[Item],
    ) -> Result<Vec<Row>> {
        let key = bucket.map(|bucket| (bucket.tag(), bucket.slot()));
        let rows = Row::rows(self.eval(script, key, common, items).await?)?;
        if rows.len() != items.len() {
            return Err(Error::Corrupt(format!("script {} gave {} rows", script.name, rows.len())));
        }
        Ok(rows)
    }

    /// Runs a script on keys that belong to no bucket.
    pub(super) async fn run_common(&self, script: &'static Script, args: Vec<Value>) -> Result<Row> {
        self.connected(CONNECTING).await?;
        let key =
            self.cluster.then(|| (COMMON_TAG.to_owned(), fred::util::redis_keyslot(COMMON_TAG.as_bytes())));
        Ok(Row::new(self.eval(script, key, &args, &[]).await?))
    }

    async fn eval(
        &self,
        script: &'static Script,
        key: Option<(String, u16)>,
        common: &[Value],
        items: &[Item],
    ) -> Result<Resp3Frame> {
        let again = match self.send("EVALSHA", script.hash.clone(), key.clone(), common, items).await {
            Err(Failure::NoScript) => self.send("EVAL", script.text.clone(), key, common, items).await,
            done => done,
        };
        match again {
            Ok(frame) => {
                self.trouble.done(script.name);
                Ok(frame)
            }
            Err(Failure::NoScript) => Err(Error::Unavailable("redis does not keep the script".into())),
            Err(Failure::Other(error)) => {
                if let Error::Unavailable(text) = &error {
                    self.trouble.refused(script.name, text);
                }
                Err(error)
            }
        }
    }

    async fn send(
        &self,
        command: &'static str,
        script: Str,
        key: Option<(String, u16)>,
        common: &[Value],
        items: &[Item],
    ) -> std::result::Result<Resp3Frame, Failure> {
        let count = items.iter().map(|item| item.args.len()).sum::<usize>();
        let mut all = Vec::with_capacity(3 + common.len() + count);
        all.push(Value::String(script));
        let hash = match key {
            Some((key, slot)) => {
                all.extend([Value::Integer(1), Value::String(key.into())]);
                ClusterHash::Custom(slot)
            }
            None => {
                all.push(Value::Integer(0));
                ClusterHash::FirstKey
            }
        };
        // Cheap: values are numbers or share their bytes.
        all.extend_from_slice(common);
        for item in items {
            all.extend_from_slice(&item.args);
        }
        // Boxed: fred's future has 7 KB, and would be moved with every future
        // around it.
        let call = Box::pin(self.client.custom_raw(CustomCommand::new_static(command, hash, false), all));
        let unsettled = self.doubt.begin();
        let reply = call.await;
        if reply.as_ref().err().is_none_or(is_reply) {
            unsettled.settled();
        }
        match reply {
            Ok(Resp3Frame::SimpleError { data, .. }) => Err(Failure::from_text(&data)),
            Ok(Resp3Frame::BlobError { data, .. }) => {
                Err(Failure::from_text(&String::from_utf8_lossy(&data)))
            }
            Ok(frame) => Ok(frame),
            Err(error) if error.details().starts_with("NOSCRIPT") => Err(Failure::NoScript),
            Err(error) => Err(Failure::Other(self.failed(&error))),
        }
    }

    fn failed(&self, error: &fred::error::Error) -> Error {
        match error.kind() {
            fred::error::ErrorKind::Timeout => {
                Error::Unavailable(format!("no answer within {:?}", self.timeout))
            }
            _ => from_server(error.details()),
        }
    }

    /// Publishes an envelope to a node's channel.
    pub(super) async fn publish(&self, node: &str, envelope: Bytes) -> Result<()> {
        self.connected(CONNECTING).await?;
        let channel = channel(node);
        let slot = fred::util::redis_keyslot(channel.as_bytes());
        let name = if self.cluster { "SPUBLISH" } else { "PUBLISH" };
        let command = CustomCommand::new_static(name, ClusterHash::Custom(slot), false);
        let args = vec![Value::String(channel.into()), Value::Bytes(envelope)];
        match self.client.custom_raw(command, args).await {
            Ok(Resp3Frame::SimpleError { data, .. }) => Err(from_server(&data)),
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Fails unless every primary answers a PING in time.
    pub(super) async fn ping(&self) -> Result<()> {
        self.connected(CONNECTING).await?;
        timeout(self.timeout, ping_all(&self.client))
            .await
            .map_err(|_| Error::Unavailable("no answer to a ping".into()))?
            .map_err(|error| self.failed(&error))
    }
}

/// The name of a node's channel.
pub(super) fn channel(node: &str) -> String {
    format!("n:{node}")
}

enum Failure {
    NoScript,
    Other(Error),
}

impl Failure {
    fn from_text(text: &str) -> Self {
        if text.starts_with("NOSCRIPT") { Self::NoScript } else { Self::Other(from_server(text)) }
    }
}

/// Whether Redis itself replied with this error: then nothing of the call is in
/// doubt.
fn is_reply(error: &fred::error::Error) -> bool {
    use fred::error::ErrorKind::{Canceled, IO, Timeout};
    !matches!(error.kind(), Canceled | IO | Timeout)
}

/// Reads an error that Redis replied. Only a script that fails on the type of a
/// value means that the data is not ours.
fn from_server(text: &str) -> Error {
    let moving = text.contains("non local key") || text.contains("must hash to the same slot");
    let refused = Reason::of(text) != Reason::Other;
    let broken = text.starts_with("WRONGTYPE") || text.starts_with("ERR");
    if broken && !moving && !refused {
        Error::Corrupt(text.to_owned())
    } else {
        Error::Unavailable(text.to_owned())
    }
}

/// Waits until a client is connected.
pub(super) async fn connected(client: &impl ClientLike) {
    while !client.is_connected() {
        // fred's own wait misses a connection made between its check of the
        // state and its subscription to the event.
        let _ = timeout(Duration::from_millis(50), client.wait_for_connect()).await;
        tokio::task::yield_now().await;
    }
}

async fn ping_all(client: &Client) -> std::result::Result<(), fred::error::Error> {
    if !client.is_clustered() {
        return client.ping::<()>(None).await;
    }
    let nodes = client.active_connections();
    try_join_all(
        nodes.into_iter().map(|node| async move { client.with_cluster_node(node).ping::<()>(None).await }),
    )
    .await?;
    Ok(())
}

/// Notes why there is no connection, until `shutdown`.
async fn note_errors(
    mut errors: Receiver<(fred::error::Error, Option<Server>)>,
    trouble: &'static Trouble,
    shutdown: CancellationToken,
) {
    loop {
        let error = tokio::select! {
            () = shutdown.cancelled() => return,
            error = errors.recv() => error,
        };
        match error {
            Ok((error, _)) => trouble.no_connection(error.details()),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// The watchdog: pings the primaries, and connects again when one hangs. fred's
/// own timer is restarted by every write, so it never fires while something is
/// written to the primary that hangs.
async fn watch(client: Client, trouble: &'static Trouble, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
        if !client.is_connected() {
            continue;
        }
        let answered = timeout(HUNG, ping_all(&client)).await;
        if matches!(answered, Ok(Ok(()))) {
            trouble.connected();
        }
        if answered.is_err() {
            trouble.no_connection("no answer to a ping");
            tracing::warn!(after = ?HUNG, "redis does not answer: connecting anew");
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = timeout(HUNG * 2, client.force_reconnection()) => {}
            }
        }
    }
    // The connection ends with the client; nobody waits for what is lost.
    let _ = timeout(Duration::from_millis(200), client.quit()).await;
}
