//! Several processes without a store: each is told of the others. A session whose
//! name its client has chosen is at the one that its name says.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use async_trait::async_trait;
use daemon::internal_tls::InternalTls;
use proto::NodeIncarnation;
use store::{NamedSession, Peer, Peers, Result};

/// One of several processes.
#[derive(Debug, Clone)]
pub struct Among {
    /// The node's name.
    pub node: String,
    /// The others: names and URLs.
    pub others: BTreeMap<String, String>,
    /// Requests that are passed on to them at once.
    pub requests: usize,
    /// How they speak to each other; nothing: without TLS.
    pub tls: Option<InternalTls>,
}

impl Among {
    /// The node that has a session of this name: the same one for every process.
    fn of(&self, session: &NamedSession) -> String {
        let mut names: Vec<&String> = self.others.keys().chain([&self.node]).collect();
        names.sort_unstable();
        let mut hasher = DefaultHasher::new();
        session.name.hash(&mut hasher);
        let place = hasher.finish() % names.len() as u64;
        names[usize::try_from(place).unwrap_or_default()].clone()
    }
}

#[async_trait]
impl Peers for Among {
    async fn announce(&self, _node: &NodeIncarnation, _address: &str) -> Result<()> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Peer>> {
        let peer =
            |(node, address): (&String, &String)| Peer { node: node.clone(), address: address.clone() };
        Ok(self.others.iter().map(peer).collect())
    }

    async fn holder(&self, session: &NamedSession) -> Result<Option<String>> {
        Ok(Some(self.of(session)))
    }

    async fn claim(&self, sessions: &[NamedSession], _node: &str) -> Result<Vec<String>> {
        Ok(sessions.iter().map(|session| self.of(session)).collect())
    }

    async fn release(&self, _sessions: &[NamedSession], _node: &str) -> Result<()> {
        Ok(())
    }
}
