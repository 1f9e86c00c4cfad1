//! Who is in a group, remembered for a moment: for what is told and not kept,
//! where it does not matter if somebody joined or left within that moment.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::{ConversationId, UserId};
use rustc_hash::FxHashMap;
use store::Store;
use tokio::time::Instant;

/// How long what was read is taken for true.
const AGE: Duration = Duration::from_secs(1);
/// Groups remembered; when there are more, all are forgotten and read anew.
const GROUPS: usize = 1_024;

/// The members of a group; none when it is not there.
pub(crate) type Members = Arc<[UserId]>;

/// The handle: cheap to clone.
#[derive(Clone)]
pub(crate) struct Groups {
    store: Arc<dyn Store>,
    /// Protects what is remembered; held for a few instructions.
    known: Arc<Lock<LEAF, FxHashMap<ConversationId, (Instant, Members)>>>,
}

impl Groups {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, known: Arc::default() }
    }

    /// The members of one group, and whether they were read just now.
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

    /// Reads from the store, whatever is remembered.
    pub(crate) async fn read(&self, groups: &[ConversationId]) -> store::Result<Vec<Members>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let states = self.store.conversations(groups, None).await?;
        let mut read = Vec::with_capacity(states.len());
        for (group, state) in groups.iter().zip(states) {
            let members = state.into_iter().flat_map(|state| state.members);
            let members: Members = members.map(|member| member.user).collect();
            self.remember(group, &members);
            read.push(members);
        }
        Ok(read)
    }

    fn remembered(&self, group: &ConversationId) -> Option<Members> {
        let known = self.known.lock();
        let (since, members) = known.get(group)?;
        (since.elapsed() < AGE).then(|| members.clone())
    }

    fn remember(&self, group: &ConversationId, members: &Members) {
        let mut known = self.known.lock();
        if known.len() >= GROUPS && !known.contains_key(group) {
            known.retain(|_, (since, _)| since.elapsed() < AGE);
            if known.len() >= GROUPS {
                known.clear();
            }
        }
        known.insert(group.clone(), (Instant::now(), members.clone()));
    }
}
