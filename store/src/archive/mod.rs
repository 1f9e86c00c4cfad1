//! The archive: messages and changes that have left Redis, in PostgreSQL. It
//! keeps entries as Redis had them, and decides nothing: which number an entry
//! has, who may read it, and what amendments have made of it is in Redis.
//!
//! In reading order: `url` (the address), `pool` (connections, limits of time,
//! and what happens while it is away), `tls`; then [`Archive`] with what is
//! written (`copy`) and read (`read`), the partitions (`weeks`), and how far each
//! conversation has come (`heads`).

mod copy;
mod heads;
mod pool;
mod read;
mod tls;
mod url;
mod weeks;

use bytes::Bytes;
use proto::ConversationId;

pub(crate) use self::heads::CopiedHead;
pub(crate) use self::pool::look;
pub(crate) use self::read::Page;
pub(crate) use self::url::check;

use self::pool::Pool;
use crate::{ArchiveConfig, Result};

/// Which of a conversation's two lists an entry is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum List {
    Messages,
    Changes,
}

impl List {
    /// As the column `kind` has it.
    fn kind(self) -> i16 {
        match self {
            Self::Messages => 0,
            Self::Changes => 1,
        }
    }
}

/// Consecutive entries of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) conversation: ConversationId,
    pub(crate) list: List,
    /// The numbers of the first and the last one.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Entries of a conversation to keep.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) conversation: ConversationId,
    /// The number before the first message, and the messages.
    pub(crate) messages: (u64, Vec<Bytes>),
    /// The same of changes.
    pub(crate) changes: (u64, Vec<Bytes>),
}

/// A router's archive.
pub(crate) struct Archive {
    pool: Pool,
}

impl Archive {
    /// Names the archive; it is connected to when it is first used. Fails when the
    /// URL is wrong.
    pub(crate) fn open(config: &ArchiveConfig) -> Result<Self> {
        Ok(Self { pool: Pool::open(config)? })
    }
}

/// PostgreSQL's integers have a sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
