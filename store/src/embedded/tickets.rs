//! One-time tickets, in memory: a ticket lives for seconds, so a restart loses
//! little.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// What a ticket stands for, and until when.
struct Ticket {
    until: Instant,
    grant: Bytes,
    /// The request that has taken it.
    by: Option<Box<str>>,
}

/// The tickets of the process.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<String, Ticket>>);

impl Tickets {
    pub(super) fn keep(&self, ticket: &str, grant: Bytes, life: Duration) {
        let now = Instant::now();
        let mut tickets = self.lock();
        tickets.retain(|_, ticket| ticket.until > now);
        tickets.entry(ticket.to_owned()).or_insert(Ticket { until: now + life, grant, by: None });
    }

    pub(super) fn take(&self, ticket: &str, by: &str) -> Option<Bytes> {
        let mut tickets = self.lock();
        let ticket = tickets.get_mut(ticket).filter(|ticket| ticket.until > Instant::now())?;
        let theirs = &**ticket.by.get_or_insert_with(|| by.into()) == by;
        theirs.then(|| ticket.grant.clone())
    }

    pub(super) fn give_back(&self, ticket: &str, by: &str) {
        if let Some(ticket) = self.lock().get_mut(ticket) {
            ticket.by.take_if(|taken| **taken == *by);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Ticket>> {
        self.0.lock().expect("no code that holds this lock panics")
    }
}
