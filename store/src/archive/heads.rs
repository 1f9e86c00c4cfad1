//! How far conversations have been copied: compared with Redis when that may have
//! lost its last writes.

use proto::ConversationId;
use tokio_postgres::{Client, Row};

use super::Archive;
use super::read::{conversation_id, unsigned};
use crate::Result;

const HEADS: &str = "\
    SELECT messages, changes, conversation FROM switchboard_copied \
    WHERE conversation > $1 ORDER BY conversation LIMIT $2";

const COMPARED: &str = "\
    INSERT INTO switchboard_compared (id, incarnation) VALUES (1, $1) \
    ON CONFLICT (id) DO UPDATE SET incarnation = excluded.incarnation";

/// Up to where a conversation has been copied.
pub(crate) struct CopiedHead {
    pub(crate) conversation: ConversationId,
    /// The seq of the last message.
    pub(crate) messages: u64,
    /// The version of the last change.
    pub(crate) changes: u64,
}

impl Archive {
    /// Whether the numbers were compared with this incarnation of the store.
    pub(crate) async fn is_compared(&self, incarnation: &str) -> Result<bool> {
        let statement = "SELECT 1 FROM switchboard_compared WHERE incarnation = $1";
        let rows =
            self.pool.write(async |client: &mut Client| client.query(statement, &[&incarnation]).await);
        Ok(!rows.await?.is_empty())
    }

    /// Notes that they were.
    pub(crate) async fn compared(&self, incarnation: &str) -> Result<()> {
        let noted =
            self.pool.write(async |client: &mut Client| client.execute(COMPARED, &[&incarnation]).await);
        noted.await.map(|_| ())
    }

    /// The heads of some conversations after this one, in order.
    pub(crate) async fn heads(&self, after: &str, most: u32) -> Result<Vec<CopiedHead>> {
        let most = i64::from(most);
        let rows = self.pool.write(async |client: &mut Client| client.query(HEADS, &[&after, &most]).await);
        rows.await?.iter().map(head).collect()
    }
}

fn head(row: &Row) -> Result<CopiedHead> {
    let (messages, changes) = (unsigned(row, 0)?, unsigned(row, 1)?);
    Ok(CopiedHead { conversation: conversation_id(row, 2)?, messages, changes })
}
