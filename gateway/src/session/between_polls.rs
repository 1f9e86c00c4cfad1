//! Sessions between two polls. A long poll that was answered leaves its session
//! here for a while, and the device's next poll continues it. So steady polling
//! registers nothing and reads nothing from the store.

use std::sync::{Arc, Weak};
use std::time::Duration;

use daemon::lock::{Lock, LockGuard};
use proto::{ChannelId, Cursor, DeviceId, End, Seq, UserId};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::Sessions;
use crate::accept::AddressSlot;
use crate::order;
use crate::session::positions::ReaderPositions;
use crate::session::tail::Tail;

/// How long a session waits for its next poll: the time that a client with a
/// bad network needs to come back.
pub const GRACE: Duration = Duration::from_secs(15);

type Parked = FxHashMap<(UserId, DeviceId), Waiting>;

/// Until when, the session, its reader's positions, and what its client's address
/// holds where that is limited.
type Waiting = (Instant, Tail, ReaderPositions, Option<AddressSlot>);

/// The sessions that wait for their next poll. Limited by the number of polls
/// in one `GRACE`.
#[derive(Default)]
pub struct Lingering {
    parked: Lock<{ order::PARKED }, Parked>,
}

impl Lingering {
    /// Leaves a session and its reader's positions for the next poll of its
    /// device.
    pub(crate) fn park(&self, tail: Tail, places: ReaderPositions, slot: Option<AddressSlot>) {
        let device = (tail.session.user.clone(), tail.session.device.clone());
        // An older one ends outside the lock.
        let _before = self.lock().insert(device, (Instant::now() + GRACE, tail, places, slot));
    }

    /// Whether this device was kicked between its last poll and this one, which
    /// must be told.
    pub(crate) fn was_kicked(&self, user: &UserId, device: &DeviceId) -> bool {
        let mut parked = self.lock();
        let key = (user.clone(), device.clone());
        let kicked =
            parked.get(&key).is_some_and(|(_, tail, ..)| tail.session.has_ended() == Some(End::Kicked));
        let told = if kicked { parked.remove(&key) } else { None };
        // Ends outside the lock.
        drop(parked);
        told.is_some()
    }

    /// Takes the session of this device, if its reader is at this cursor and at
    /// these positions in the same channels.
    pub(crate) fn take(
        &self,
        user: &UserId,
        device: &DeviceId,
        cursor: Cursor,
        channels: &[(ChannelId, Option<Seq>)],
    ) -> Option<(Tail, ReaderPositions)> {
        let (_, tail, places, _) = self.lock().remove(&(user.clone(), device.clone()))?;
        // Otherwise it has missed the response, and attaches again.
        (tail.session.stands_at(cursor) && places.are(channels)).then_some((tail, places))
    }

    /// How many sessions wait.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no session waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove_if(&self, gone: impl Fn(Instant, &Tail) -> bool) {
        let mut parked = self.lock();
        let devices: Vec<_> = parked
            .iter()
            .filter(|(_, (until, tail, ..))| gone(*until, tail))
            .map(|(device, _)| device.clone())
            .collect();
        let ended: Vec<_> = devices.iter().filter_map(|device| parked.remove(device)).collect();
        drop(parked);
        drop(ended);
    }

    fn lock(&self) -> LockGuard<'_, Parked> {
        self.parked.lock()
    }
}

/// Ends sessions whose next poll has not come, until the node drains.
pub async fn sweep(sessions: Weak<Sessions>) {
    loop {
        let Some(draining) = sessions.upgrade().map(|sessions| sessions.context.draining.clone()) else {
            return;
        };
        tokio::select! {
            () = draining.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let Some(sessions) = sessions.upgrade() else { return };
        sweep_once(&sessions);
        if draining.is_cancelled() {
            return;
        }
    }
}

fn sweep_once(sessions: &Arc<Sessions>) {
    let (now, draining) = (Instant::now(), sessions.context.draining.is_cancelled());
    let over = |tail: &Tail| tail.session.has_ended().is_some_and(|end| end != End::Kicked);
    sessions.lingering.remove_if(|until, tail| draining || until <= now || over(tail));
}
