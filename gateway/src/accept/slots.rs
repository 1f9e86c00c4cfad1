//! Slots for what clients hold open: a limit for the node's connections, and one
//! for each kind of thing that one address holds.

use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daemon::lock::{LEAF, Lock};
use rustc_hash::FxHashMap;

use crate::metrics::{self, REFUSED, SOCKETS};

/// Counts what is open against the limits.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    most_per_address: Option<usize>,
    open: Lock<LEAF, Open>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    /// Counted only if there is a limit for addresses.
    by_address: FxHashMap<(Kind, IpAddr), usize>,
}

/// What an address holds. Each kind is counted by itself: so a client whose
/// session is let in finds a place for that session's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A connection that is the client's own, and not a proxy's.
    Connection,
    /// A request until its response has ended, or its WebSocket.
    Request,
    /// A session that outlives requests.
    Session,
}

/// How many connections are open, and were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Connections that are open now.
    pub open: usize,
    /// Connections refused since the start.
    pub refused: u64,
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The node has as many connections as it may.
    All,
    /// The address has as many of this kind as it may.
    Address(Kind),
}

/// One connection's slot, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

/// What one address holds, until this is dropped.
#[derive(Debug)]
pub(crate) struct AddressSlot {
    slots: Arc<Slots>,
    of: (Kind, IpAddr),
}

impl Slots {
    pub(super) fn new(most: usize, most_per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, open: Lock::default(), refused: AtomicU64::new(0) })
    }

    /// A slot for one more connection.
    pub(super) fn take(self: &Arc<Self>) -> Result<Slot, Full> {
        let mut open = self.open.lock();
        if open.connections >= self.most {
            drop(open);
            return Err(self.refuse(Full::All));
        }
        open.connections += 1;
        SOCKETS.add(&[], 1);
        Ok(Slot(self.clone()))
    }

    /// A slot for one more of what this address holds; nothing where there is no
    /// limit for addresses.
    pub(super) fn take_of(
        self: &Arc<Self>,
        kind: Kind,
        address: IpAddr,
    ) -> Result<Option<AddressSlot>, Full> {
        let Some(most) = self.most_per_address else { return Ok(None) };
        let of = (kind, network(address));
        let mut open = self.open.lock();
        let held = open.by_address.get(&of).copied().unwrap_or(0);
        if held >= most {
            drop(open);
            return Err(self.refuse(Full::Address(kind)));
        }
        open.by_address.insert(of, held + 1);
        Ok(Some(AddressSlot { slots: self.clone(), of }))
    }

    /// Counts a refusal.
    fn refuse(&self, full: Full) -> Full {
        match full {
            Full::All => REFUSED.add(&["all"], 1),
            Full::Address(Kind::Connection) => REFUSED.add(&["address"], 1),
            Full::Address(Kind::Request) => metrics::address_refused("request"),
            Full::Address(Kind::Session) => metrics::address_refused("session"),
        }
        if matches!(full, Full::All | Full::Address(Kind::Connection)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        full
    }

    pub(super) fn has_address_limit(&self) -> bool {
        self.most_per_address.is_some()
    }

    pub(super) fn counts(&self) -> Counts {
        let open = self.open.lock().connections;
        Counts { open, refused: self.refused.load(Ordering::Relaxed) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        SOCKETS.add(&[], -1);
        self.0.open.lock().connections -= 1;
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock();
        if let Entry::Occupied(mut held) = open.by_address.entry(self.of) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

/// The part of an address that is counted: one customer has a whole /64 of
/// IPv6, and an IPv4 address can be written as IPv6, too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(Ipv6Addr::from(segments))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_counted_in_all_and_come_back() {
        let slots = Slots::new(2, None);
        let one = slots.take().unwrap();
        let _two = slots.take().unwrap();
        assert_eq!(slots.take().unwrap_err(), Full::All);
        drop(one);
        assert!(slots.take().is_ok());
        assert_eq!(slots.counts(), Counts { open: 1, refused: 1 });
        assert!(slots.take_of(Kind::Request, address("10.0.0.1")).unwrap().is_none(), "there is no limit");
    }

    #[test]
    fn what_an_address_holds_is_counted_by_kind_and_network_and_comes_back() {
        let slots = Slots::new(9, Some(2));
        let take = |kind, text| slots.take_of(kind, address(text));
        let one = take(Kind::Request, "2001:db8::1").unwrap();
        let _two = take(Kind::Request, "2001:db8::2").unwrap();
        assert_eq!(take(Kind::Request, "2001:db8::3").unwrap_err(), Full::Address(Kind::Request));
        let _session = take(Kind::Session, "2001:db8::3").unwrap();
        let _mapped =
            [take(Kind::Request, "::ffff:10.0.0.1").unwrap(), take(Kind::Request, "10.0.0.1").unwrap()];
        assert!(take(Kind::Request, "10.0.0.1").is_err());
        drop(one);
        let again = take(Kind::Request, "2001:db8::9").unwrap();
        assert!(again.is_some());
        drop(again);
        assert_eq!(slots.open.lock().by_address[&(Kind::Request, address("2001:db8::"))], 1);
    }
}
