//! The members of groups, remembered for a second. Typing and receipts use it:
//! nobody minds if they go to somebody who has just left.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::{ConversationId, UserId};
use rustc_hash::FxHashMap;
use store::Store;
use tokio::time::Instant;

/// How long members are used after they were read.
const AGE: Duration = Duration::from_secs(1);
/// How many groups are remembered. When there are more, all are forgotten and
/// read again.
const GROUPS: usize = 1_024;

/// The members of a group; empty when there is no such group.
pub(crate) type Members = Arc<[UserId]>;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct MemberCache {
    store: Arc<dyn Store>,
    /// When each group was read, and its members. Held for a few instructions.
    cached: Arc<Lock<LEAF, FxHashMap<ConversationId, (Instant, Members)>>>,
}

impl MemberCache {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, cached: Arc::default() }
    }

    /// The members of one group; true when this call has read them from the store.
    pub(crate) async fn of(&self, group: &ConversationId) -> store::Result<(Members, bool)> {
        match self.remembered(group) {
            Some(members) => Ok((members, false)),
            None => Ok((self.read(std::slice::from_ref(group)).await?.remove(0), true)),
        }
    }

    /// The members of many groups.
    pub(crate) async fn of_all(
        &self,
        groups: impl Iterator<Item = &ConversationId>,
    ) -> store::Result<FxHashMap<ConversationId, Members>> {
        let (mut found, mut unknown) = (FxHashMap::default(), Vec::new());
        for group in groups {
            match self.remembered(group) {
                Some(members) => drop(found.insert(group.clone(), members)),
                None => unknown.push(group.clone()),
            }
        }
        let read = self.read(&unknown).await?;
        found.extend(unknown.into_iter().zip(read));
        Ok(found)
    }

    /// Reads the members from the store and remembers them.
    pub(crate) async fn read(&self, groups: &[ConversationId]) -> store::Result<Vec<Members>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.store.members(groups).await?;
        let mut read = Vec::with_capacity(all.len());
        for (group, members) in groups.iter().zip(all) {
            let members: Members = members.into();
            self.remember(group, &members);
            read.push(members);
        }
        Ok(read)
    }

    fn remembered(&self, group: &ConversationId) -> Option<Members> {
        let cached = self.cached.lock();
        let (since, members) = cached.get(group)?;
        (since.elapsed() < AGE).then(|| members.clone())
    }

    fn remember(&self, group: &ConversationId, members: &Members) {
        let mut cached = self.cached.lock();
        if cached.len() >= GROUPS && !cached.contains_key(group) {
            cached.retain(|_, (since, _)| since.elapsed() < AGE);
            if cached.len() >= GROUPS {
                cached.clear();
            }
        }
        cached.insert(group.clone(), (Instant::now(), members.clone()));
    }
}
