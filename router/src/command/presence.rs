//! `presence`: who is online, and which nodes are told when that changes.

use proto::limits::MAX_USERS;
use proto::wire::{self, reply};
use proto::{NodeIncarnation, UserId};
use store::model::{AttachResult, PresenceRecord};

use super::{done, field};
use crate::absences::{Absences, GRACE};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::receipts::{self, Notices};

/// Answers in the order of the users in the request.
pub(crate) async fn ask(core: &Core, asked: wire::AskPresence) -> Result<reply::Result> {
    let users = users(&asked.users)?;
    let watcher: Option<NodeIncarnation> = match asked.node.as_str() {
        "" => None,
        node => Some(field("node", node)?),
    };
    let seen = core.store.presence(&users, watcher.as_ref()).await?;
    let mut presences = Vec::with_capacity(users.len());
    for (user, seen) in users.into_iter().zip(seen) {
        let online = is_online(&seen);
        // The last session has ended, and the user counts as online for some
        // seconds. The watchers are told when these are over, whichever router saw
        // the session end.
        if let Some((_, ago)) = seen.ended.filter(|_| online && !seen.here && watcher.is_some()) {
            core.absences.note(user.clone(), ago);
        }
        let last_seen = seen.ended.filter(|_| !online).map_or(0, |(time, _)| time.0);
        presences.push(wire::Presence { user: user.into(), online, last_seen });
    }
    Ok(reply::Result::Presences(wire::Presences { presences }))
}

/// The node does not watch these users any more.
pub(crate) async fn unwatch(core: &Core, asked: wire::Unwatch) -> Result<reply::Result> {
    let users = users(&asked.users)?;
    core.store.unwatch(&users, &field("node", &asked.node)?).await?;
    Ok(done())
}

/// Tells the nodes that watch a user that the user is online, if it was offline.
pub(crate) fn came(user: &UserId, attached: &AttachResult, notices: &Notices) {
    let Some(absence) = &attached.absence else { return };
    if absence.ended_ago.is_none_or(|ago| ago >= GRACE) {
        receipts::tell_presence(notices, &absence.watchers, user, None);
    }
}

/// A session of the user has ended. `last` is true when the user has no other
/// session and somebody watches: then the user may be offline soon.
pub(crate) fn left(user: UserId, last: bool, absences: &Absences) {
    if last {
        absences.note(user, std::time::Duration::ZERO);
    }
}

fn is_online(seen: &PresenceRecord) -> bool {
    seen.here || seen.ended.is_some_and(|(_, ago)| ago < GRACE)
}

fn users(names: &[String]) -> Result<Vec<UserId>> {
    if names.len() > MAX_USERS {
        return Err(Error::BadRequest(format!("`users` must name at most {MAX_USERS} users")));
    }
    names.iter().map(|name| field("users", name)).collect()
}
