//! How gateways find each other: addresses beside the nodes' leases, and a key
//! that expires for each session of a name that a client has chosen. On a
//! connection of its own.

use std::sync::OnceLock;

use async_trait::async_trait;
use fred::types::Value;
use proto::NodeIncarnation;
use smallvec::smallvec;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::connection::{Connection, Item};
use super::conversation::only;
use super::key::Bucket;
use super::reply::Row;
use super::{script, write};
use crate::{HELD, NamedSession, Peer, Peers, Result, trouble};

/// Sessions in one call.
const PER_CALL: usize = 256;

pub(super) struct RedisPeers {
    address: Address,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// Made when it is first needed: a gateway without peers has none.
    connection: OnceLock<Connection>,
}

impl RedisPeers {
    pub(super) fn new(address: Address, tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self { address, tasks, shutdown, connection: OnceLock::new() }
    }

    fn connection(&self) -> &Connection {
        let open = || Connection::open(&self.address, &trouble::BUS, &self.tasks, &self.shutdown);
        self.connection.get_or_init(open)
    }
}

#[async_trait]
impl Peers for RedisPeers {
    async fn announce(&self, node: &NodeIncarnation, address: &str) -> Result<()> {
        let args = vec![write::text(node.as_str()), write::text(address)];
        self.connection().run_common(&script::ANNOUNCE_PEER, args).await?;
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Peer>> {
        let mut row = self.connection().run_common(&script::PEERS, Vec::new()).await?;
        let mut peers: Vec<Peer> = Vec::new();
        while !row.is_done() {
            let (node, address) = (row.text()?, row.text()?.to_string());
            let Some(node) = NodeIncarnation::parse(&node).ok() else { continue };
            // The later one of two runs comes last.
            peers.retain(|known| known.node != node.node());
            peers.push(Peer { node: node.node().to_owned(), address });
        }
        Ok(peers)
    }

    async fn holder(&self, session: &NamedSession) -> Result<Option<String>> {
        let rows = self.connection().run(&script::HOLDER, &[], vec![item(session)], 1).await?;
        let holder = only(rows)?.text()?;
        Ok((!holder.is_empty()).then(|| holder.to_string()))
    }

    async fn claim(&self, sessions: &[NamedSession], node: &str) -> Result<Vec<String>> {
        let common = [write::text(node), write::number(HELD.as_millis() as u64)];
        let items = sessions.iter().map(item).collect();
        let rows = self.connection().run(&script::CLAIM_SESSION, &common, items, PER_CALL).await?;
        rows.into_iter().map(|mut row: Row| Ok(row.text()?.to_string())).collect()
    }

    async fn release(&self, sessions: &[NamedSession], node: &str) -> Result<()> {
        let common = [write::text(node)];
        let items = sessions.iter().map(item).collect();
        self.connection().run(&script::RELEASE_SESSION, &common, items, PER_CALL).await?;
        Ok(())
    }
}

fn item(session: &NamedSession) -> Item {
    let bucket = Bucket::of(session.owner.as_str());
    let args = smallvec![
        Value::Integer(bucket.0.into()),
        write::text(session.owner.as_str()),
        write::text(&session.name)
    ];
    Item::new(bucket, args)
}
