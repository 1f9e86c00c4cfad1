//! The only gateway has no peers.

use async_trait::async_trait;
use proto::NodeIncarnation;

use crate::{NamedSession, Peer, Peers, Result};

/// The peers of the only gateway: it has all sessions itself.
pub(super) struct Alone;

#[async_trait]
impl Peers for Alone {
    async fn announce(&self, _node: &NodeIncarnation, _address: &str) -> Result<()> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Peer>> {
        Ok(Vec::new())
    }

    async fn holder(&self, _session: &NamedSession) -> Result<Option<String>> {
        Ok(None)
    }

    async fn claim(&self, sessions: &[NamedSession], node: &str) -> Result<Vec<String>> {
        Ok(vec![node.to_owned(); sessions.len()])
    }

    async fn release(&self, _sessions: &[NamedSession], _node: &str) -> Result<()> {
        Ok(())
    }
}
