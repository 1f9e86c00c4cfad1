//! One-time tickets of one process, in memory: none outlives the seconds that a
//! restart takes by much.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// What tickets stand for, and until when.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<String, (Instant, Bytes)>>);

impl Tickets {
    pub(super) fn keep(&self, ticket: &str, grant: Bytes, life: Duration) {
        let now = Instant::now();
        let mut tickets = self.lock();
        tickets.retain(|_, (until, _)| *until > now);
        tickets.insert(ticket.to_owned(), (now + life, grant));
    }

    pub(super) fn take(&self, ticket: &str) -> Option<Bytes> {
        let (until, grant) = self.lock().remove(ticket)?;
        (until > Instant::now()).then_some(grant)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Bytes)>> {
        self.0.lock().expect("no code that holds this lock panics")
    }
}
