//! A store's connection to Redis, and the running of scripts. On a single server
//! or behind Sentinel it is a pipeline of our own; in a Cluster it is fred's, with
//! a connection to each primary.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fred::bytes_utils::Str;
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, Resp3Frame};
use fred::types::config::Server;
use fred::types::{ClusterHash, CustomCommand, Value};
use futures_util::future::try_join_all;
use proto::Bound;
use smallvec::{SmallVec, smallvec};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::doubt::Doubt;
use super::key::{Bucket, COMMON_TAG};
use super::pipeline::{Names, Outcome, Pipeline};
use super::reply::Row;
use super::resp::{Reply, put_command, put_value, put_word};
use super::script::Script;
use super::watchdog::{self, connected};
use crate::trouble::{Reason, Trouble};
use crate::{Error, Result};

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
    way: Way,
    timeout: Duration,
    trouble: &'static Trouble,
    /// A script may have run whose reply did not come.
    doubt: Doubt,
}

/// How commands get to Redis.
#[derive(Clone)]
enum Way {
    /// To the one server that there is, or that fred has found.
    Pipeline(Pipeline),
    /// To the primaries of a Cluster, each command to that of its slot.
    Cluster(Client),
}

/// A command that is under way.
enum Underway {
    Pipeline(oneshot::Receiver<Outcome>),
    Cluster(Pin<Box<dyn Future<Output = std::result::Result<Resp3Frame, fred::error::Error>> + Send>>),
}

/// Tells whether a connection was made since one asked last. Whatever is sent on a
/// connection, it is told of before.
pub(super) enum Reconnections {
    Pipeline { pipeline: Pipeline, seen: u64 },
    Cluster(Receiver<Server>),
}

impl Reconnections {
    /// Whether there was one since the last call.
    pub(super) fn any(&mut self) -> bool {
        match self {
            Self::Pipeline { pipeline, seen } => {
                let before = std::mem::replace(seen, pipeline.made());
                before != *seen
            }
            Self::Cluster(made) => {
                let mut any = false;
                while !matches!(made.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {
                    any = true;
                }
                any
            }
        }
    }
}

impl Connection {
    /// Starts to connect. The watchdog runs on `tasks` until `shutdown`.
    pub(super) fn open(
        address: &Address,
        trouble: &'static Trouble,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        if let Some(server) = address.alone() {
            let pipeline = Pipeline::new(trouble);
            let names = Names::Alone(server.clone());
            tasks.spawn(pipeline.clone().run(address.clone(), names, shutdown.clone()));
            tasks.spawn(watchdog::watch_alone(pipeline.clone(), trouble, shutdown.clone()));
            return Self::over(Way::Pipeline(pipeline), address, trouble);
        }
        let client = address.client();
        tasks.spawn(watchdog::note_errors(client.error_rx(), trouble, shutdown.clone()));
        let pipeline = (!address.is_cluster()).then(|| Pipeline::new(trouble));
        if let Some(pipeline) = &pipeline {
            let names = Names::Fred(client.reconnect_rx());
            tasks.spawn(pipeline.clone().run(address.clone(), names, shutdown.clone()));
        }
        client.connect();
        tasks.spawn(watchdog::watch(client.clone(), pipeline.clone(), trouble, shutdown.clone()));
        let way = pipeline.map_or_else(|| Way::Cluster(client), Way::Pipeline);
        Self::over(way, address, trouble)
    }

    fn over(way: Way, address: &Address, trouble: &'static Trouble) -> Self {
        Self { way, timeout: address.timeout(), trouble, doubt: Doubt::default() }
    }

    /// Whether a script may have written something that nobody knows of.
    pub(super) fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    pub(super) fn trouble(&self) -> &'static Trouble {
        self.trouble
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.way, Way::Cluster(_))
    }

    /// The server of the connection that there is, as it changes. Nothing for a
    /// Cluster.
    pub(super) fn server(&self) -> Option<watch::Receiver<Option<Server>>> {
        match &self.way {
            Way::Pipeline(pipeline) => Some(pipeline.server()),
            Way::Cluster(_) => None,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        match &self.way {
            Way::Pipeline(pipeline) => pipeline.is_open(),
            Way::Cluster(client) => client.is_connected(),
        }
    }

    pub(super) fn reconnections(&self) -> Reconnections {
        match &self.way {
            Way::Pipeline(pipeline) => {
                Reconnections::Pipeline { pipeline: pipeline.clone(), seen: pipeline.made() }
            }
            Way::Cluster(client) => Reconnections::Cluster(client.reconnect_rx()),
        }
    }

    /// Waits until there is a connection. Fails after `wait`.
    pub(super) async fn connected(&self, wait: Duration) -> Result<()> {
        if self.is_connected() {
            return Ok(());
        }
        let opened = async {
            match &self.way {
                Way::Pipeline(pipeline) => pipeline.opened().await,
                Way::Cluster(client) => connected(client).await,
            }
        };
        match timeout(wait, opened).await {
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
        if self.is_cluster() {
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
        let key = self
            .is_cluster()
            .then(|| (COMMON_TAG.to_owned(), fred::util::redis_keyslot(COMMON_TAG.as_bytes())));
        Ok(Row::new(self.eval(script, key, &args, &[]).await?))
    }

    async fn eval(
        &self,
        script: &'static Script,
        key: Option<(String, u16)>,
        common: &[Value],
        items: &[Item],
    ) -> Result<Reply> {
        let again = match self.send("EVALSHA", script.hash.clone(), key.clone(), common, items).await {
            Err(Failure::NoScript) => self.send("EVAL", script.text.clone(), key, common, items).await,
            done => done,
        };
        match again {
            Ok(reply) => {
                self.trouble.done(script.name);
                Ok(reply)
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
    ) -> std::result::Result<Reply, Failure> {
        let mut head: SmallVec<[Value; 3]> = smallvec![Value::String(script)];
        let hash = match key {
            Some((key, slot)) => {
                head.extend([Value::Integer(1), Value::String(key.into())]);
                ClusterHash::Custom(slot)
            }
            None => {
                head.push(Value::Integer(0));
                ClusterHash::FirstKey
            }
        };
        let args = head.iter().chain(common).chain(items.iter().flat_map(|item| &item.args));
        let underway = self.begin(command, hash, args).map_err(Failure::Other)?;
        let unsettled = self.doubt.begin();
        let reply = self.reply(underway).await.map_err(Failure::Other)?;
        unsettled.settled();
        match reply {
            Reply::Refusal(text) => Err(Failure::from_text(&String::from_utf8_lossy(&text))),
            reply => Ok(reply),
        }
    }

    /// Sends a command. Nothing was sent if this fails.
    fn begin<'a>(
        &self,
        command: &'static str,
        hash: ClusterHash,
        args: impl Iterator<Item = &'a Value> + Clone,
    ) -> Result<Underway> {
        match &self.way {
            Way::Pipeline(pipeline) => {
                pipeline.call(|into| encode(into, command, args)).map(Underway::Pipeline)
            }
            Way::Cluster(client) => {
                // Cheap: values are numbers or share their bytes.
                let (client, args): (_, Vec<Value>) = (client.clone(), args.cloned().collect());
                let command = CustomCommand::new_static(command, hash, false);
                // Boxed: fred's future has 7 KB, and would be moved with every
                // future around it.
                Ok(Underway::Cluster(Box::pin(async move { client.custom_raw(command, args).await })))
            }
        }
    }

    /// What Redis replies, which may be a refusal. An error means that nobody knows
    /// whether the command was done.
    async fn reply(&self, underway: Underway) -> Result<Reply> {
        let slow = || Error::Unavailable(format!("no answer within {:?}", self.timeout));
        match underway {
            Underway::Pipeline(reply) => match timeout(self.timeout, reply).await {
                Ok(Ok(Ok(reply))) => Ok(reply),
                Ok(Ok(Err(why))) => Err(Error::Unavailable(why)),
                Ok(Err(_)) => Err(Error::Unavailable("the connection to redis ended".into())),
                Err(_) => Err(slow()),
            },
            Underway::Cluster(reply) => match reply.await {
                Ok(frame) => Ok(frame.into()),
                Err(error) => match error.kind() {
                    fred::error::ErrorKind::Timeout => Err(slow()),
                    _ if is_reply(&error) => Ok(Reply::Refusal(error.details().to_owned().into())),
                    _ => Err(from_server(error.details())),
                },
            },
        }
    }

    /// Runs a command that is no script, at the primary of the slot.
    pub(super) async fn command(&self, name: &'static str, slot: u16, args: &[Value]) -> Result<Reply> {
        self.connected(CONNECTING).await?;
        let underway = self.begin(name, ClusterHash::Custom(slot), args.iter())?;
        unless_refused(self.reply(underway).await?)
    }

    /// The same at every primary.
    pub(super) async fn at_each_primary(&self, name: &'static str, args: &[Value]) -> Result<Vec<Reply>> {
        match &self.way {
            Way::Pipeline(_) => Ok(vec![self.command(name, 0, args).await?]),
            Way::Cluster(client) => {
                let replies = client.active_connections().into_iter().map(|node| async move {
                    let command = CustomCommand::new_static(name, ClusterHash::Random, false);
                    let reply = client.with_cluster_node(node).custom_raw(command, args.to_vec()).await;
                    match reply {
                        Ok(frame) => unless_refused(frame.into()),
                        Err(error) => Err(Error::Unavailable(error.details().to_owned())),
                    }
                });
                try_join_all(replies).await
            }
        }
    }

    /// Publishes an envelope to a node's channel, and waits until Redis has passed
    /// it on. It is sent, or fails, when this is polled first.
    pub(super) async fn publish(&self, node: &str, envelope: Bytes) -> Result<()> {
        if !self.is_connected() {
            return Err(Error::Unavailable("not connected".into()));
        }
        let (name, slot, args) = self.publishing(node, envelope);
        let underway = self.begin(name, ClusterHash::Custom(slot), args.iter())?;
        unless_refused(self.reply(underway).await?).map(|_| ())
    }

    /// Publishes an envelope to a node's channel. Over a pipeline it is only queued
    /// when this returns, before all that is sent later; if the connection breaks
    /// now, nobody is told but by the envelope's number.
    pub(super) async fn announce(&self, node: &str, envelope: Bytes) -> Result<()> {
        let Way::Pipeline(pipeline) = &self.way else {
            return self.publish(node, envelope).await;
        };
        let (name, _, args) = self.publishing(node, envelope);
        pipeline.tell(|into| encode(into, name, args.iter()))
    }

    fn publishing(&self, node: &str, envelope: Bytes) -> (&'static str, u16, [Value; 2]) {
        let channel = channel(node);
        let slot = fred::util::redis_keyslot(channel.as_bytes());
        let name = if self.is_cluster() { "SPUBLISH" } else { "PUBLISH" };
        (name, slot, [Value::String(channel.into()), Value::Bytes(envelope)])
    }

    /// Fails unless every primary answers a PING in time.
    pub(super) async fn ping(&self) -> Result<()> {
        self.connected(CONNECTING).await?;
        let answered = async {
            match &self.way {
                Way::Pipeline(pipeline) => pipeline.ping().await,
                Way::Cluster(client) => watchdog::ping_all(client)
                    .await
                    .map_err(|error| Error::Unavailable(error.details().to_owned())),
            }
        };
        timeout(self.timeout, answered)
            .await
            .unwrap_or_else(|_| Err(Error::Unavailable("no answer to a ping".into())))
    }
}

fn encode<'a>(into: &mut BytesMut, command: &str, args: impl Iterator<Item = &'a Value> + Clone) {
    put_command(into, 1 + args.clone().count());
    put_word(into, command.as_bytes());
    args.for_each(|arg| put_value(into, arg));
}

fn unless_refused(reply: Reply) -> Result<Reply> {
    match reply {
        Reply::Refusal(text) => Err(from_server(&String::from_utf8_lossy(&text))),
        reply => Ok(reply),
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
