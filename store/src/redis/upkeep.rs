//! A router's background work, once a second: the store's incarnation, the live
//! nodes, and the counts of its announcements.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use fred::types::Value;
use proto::{FORM, NodeIncarnation};
use rustc_hash::FxHashSet;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::announce::Announcer;
use super::connection::Connection;
use super::reply::Row;
use super::resp::Reply;
use super::settings::{self, field};
use super::{Redis, script, write};
use crate::{Error, Result};

/// How long the last word to the nodes may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// What is known about the store as a whole.
pub(super) struct Upkeep {
    connection: Connection,
    /// Protects what was read last; locked only for single lines.
    known: Mutex<StoreState>,
}

#[derive(Default)]
struct StoreState {
    /// `<id>.<count>`; empty until it was read.
    incarnation: Arc<str>,
    live: LiveNodes,
    /// Why the server cannot be used, if it cannot.
    refusal: Option<String>,
    /// Why the data cannot be used, if it cannot.
    foreign: Option<String>,
    inspected: bool,
}

/// The nodes whose lease is valid, and the version of this list.
#[derive(Clone, Default)]
struct LiveNodes {
    version: Arc<str>,
    nodes: Arc<FxHashSet<NodeIncarnation>>,
}

impl Upkeep {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, known: Mutex::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, StoreState> {
        // A panic between two assignments leaves the value consistent.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's incarnation, as envelopes have it.
    pub(super) fn incarnation(&self) -> Arc<str> {
        self.known().incarnation.clone()
    }

    /// Fails unless the server was inspected and can be used.
    pub(super) fn usable(&self) -> Result<()> {
        let known = self.known();
        match known.refusal.as_ref().or(known.foreign.as_ref()) {
            Some(refusal) => Err(Error::Config(refusal.clone())),
            None if !known.inspected => {
                let why = self.connection.trouble().now();
                Err(Error::Unavailable(why.unwrap_or_else(|| "not connected yet".into())))
            }
            None => Ok(()),
        }
    }

    /// The first inspection: refuses a server that is too old, warns of
    /// settings, and reads the incarnation.
    pub(super) async fn begin(&self, replicas: u32) -> Result<()> {
        let info = self.info("all").await?;
        let refusal = info.iter().find_map(|info| settings::too_old(info));
        for warning in info.iter().flat_map(|info| settings::warnings(info, replicas)) {
            tracing::warn!("{warning}");
        }
        {
            let mut known = self.known();
            known.inspected = true;
            known.refusal = refusal.clone();
        }
        if let Some(refusal) = refusal {
            return Err(Error::Config(refusal));
        }
        self.look().await
    }

    /// Reads the incarnation (a new one if another primary replies) and the
    /// live nodes.
    pub(super) async fn look(&self) -> Result<()> {
        let mut primaries: Vec<String> = Vec::new();
        for info in self.info("replication").await? {
            settings::primary(&info)?;
            primaries.extend(field(&info, "master_replid").map(str::to_owned));
        }
        primaries.sort_unstable();
        let id = format!("{:016x}", rand::random::<u64>());
        let args = vec![
            write::text(&id),
            write::text(&primaries.join(",")),
            write::number(FORM.major),
            write::number(FORM.minor),
        ];
        let mut row = self.connection.run_common(&script::INCARNATION, args).await?;
        let (id, count) = (row.text()?, row.text()?);
        let foreign = (&*id == "form").then(|| {
            format!("the data in redis has form {count}, and this release, of form {FORM}, does not read it: start the release that wrote it, or use another database")
        });
        self.known().foreign = foreign.clone();
        if let Some(foreign) = foreign {
            return Err(Error::Config(foreign));
        }
        let incarnation = format!("{id}.{count}");
        self.look_who_lives().await?;
        let mut known = self.known();
        if *known.incarnation != *incarnation {
            if !known.incarnation.is_empty() {
                tracing::warn!(%incarnation, "the store has a new incarnation");
            }
            known.incarnation = incarnation.into();
        }
        Ok(())
    }

    /// Reads which nodes have a valid lease. The list itself is read only if it is
    /// another one than that which was read last.
    pub(super) async fn look_who_lives(&self) -> Result<Arc<FxHashSet<NodeIncarnation>>> {
        let before = self.known().live.clone();
        let mut row = self.connection.run_common(&script::NODES, vec![write::text(&before.version)]).await?;
        let version = row.text()?;
        if *version == *before.version {
            return Ok(before.nodes);
        }
        let mut nodes = FxHashSet::default();
        while !row.is_done() {
            let node = NodeIncarnation::parse(&row.text()?);
            nodes.insert(node.map_err(|error| Error::Corrupt(format!("the name of a node: {error}")))?);
        }
        let live = LiveNodes { version: Arc::from(&*version), nodes: Arc::new(nodes) };
        self.known().live = live.clone();
        Ok(live.nodes)
    }

    /// Those of the nodes whose lease has ended. A node that was not live when
    /// last read may be new, so the live nodes are read again for it.
    pub(super) async fn dead_among(
        &self,
        nodes: impl Iterator<Item = &NodeIncarnation> + Send,
    ) -> Result<FxHashSet<NodeIncarnation>> {
        let known = self.known_live();
        let mut unknown: FxHashSet<NodeIncarnation> =
            nodes.filter(|node| !known.contains(*node)).cloned().collect();
        if !unknown.is_empty() {
            let live = self.look_who_lives().await?;
            unknown.retain(|node| !live.contains(node));
        }
        Ok(unknown)
    }

    /// A section of `INFO` (`all`: each one), of every primary.
    pub(super) async fn info(&self, section: &str) -> Result<Vec<String>> {
        let replies = self.connection.at_each_primary("INFO", &[write::text(section)]).await;
        let replies = replies.inspect_err(|error| {
            if let Error::Unavailable(text) | Error::Corrupt(text) = error {
                self.connection.trouble().refused("info", text);
            }
        });
        replies?.into_iter().map(|reply| Ok(Row::new(reply).text()?.to_string())).collect()
    }
}

impl Redis {
    /// Waits until as many replicas of every primary as are asked for
    /// (`--store-replicas`) have everything that was written. Fails when fewer have it
    /// after half the time of a call.
    pub(super) async fn wait_for_replicas(&self) -> Result<()> {
        if self.replicas == 0 {
            return Ok(());
        }
        let millis = i64::try_from(self.timeout.as_millis() / 2).unwrap_or(i64::MAX);
        let args = [Value::Integer(self.replicas.into()), Value::Integer(millis)];
        for reply in self.append.at_each_primary("WAIT", &args).await? {
            match reply {
                Reply::Number(have) if have >= i64::from(self.replicas) => {}
                Reply::Number(have) => {
                    let replicas = self.replicas;
                    return Err(Error::Unavailable(format!("only {have} of {replicas} replicas have it")));
                }
                _ => return Err(Error::Unavailable("no number of replicas".into())),
            }
        }
        Ok(())
    }
}

/// Runs the background work until the store is dropped, or `shutdown`. Then
/// tells the nodes, and lets the store's connections end.
pub(super) async fn run(
    store: Weak<Redis>,
    announcer: Arc<Announcer>,
    shutdown: CancellationToken,
    _connections: DropGuard,
) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
        let Some(store) = store.upgrade() else { break };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = store.look_after() => {}
        }
    }
    let _ = timeout(FAREWELL, announcer.farewell()).await;
}

impl Redis {
    async fn look_after(&self) {
        if !self.read.is_connected() {
            return;
        }
        let inspected = self.upkeep.known().inspected;
        let looked = match inspected {
            true => self.upkeep.look().await,
            false => self.upkeep.begin(self.replicas).await,
        };
        match looked {
            Ok(()) => self.append.trouble().done("info"),
            // Logged already, with its reason.
            Err(Error::Unavailable(error)) => {
                tracing::debug!(error, "could not look after the store");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "could not look after the store");
                return;
            }
        }
        // Whatever was under way on this connection is over by now.
        let (doubt, live) = (self.append.doubt().take(), self.upkeep.known_live());
        if doubt {
            tracing::warn!("a reply of redis was lost: every node reads from the log");
        }
        if let Err(error) = self.announcer.counts(&self.upkeep.incarnation(), &live, doubt).await {
            tracing::debug!(%error, "could not publish the counts of announcements");
        }
        if let Ok(mut notes) = self.posting.try_lock()
            && let Err(error) = self.finish(&mut notes).await
        {
            tracing::debug!(%error, "could not take off what has been filed");
        }
    }

    pub(super) async fn dead_among(
        &self,
        nodes: impl Iterator<Item = &NodeIncarnation> + Send,
    ) -> Result<FxHashSet<NodeIncarnation>> {
        self.upkeep.dead_among(nodes).await
    }
}

impl Upkeep {
    fn known_live(&self) -> Arc<FxHashSet<NodeIncarnation>> {
        self.known().live.nodes.clone()
    }
}
