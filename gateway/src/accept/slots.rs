//! Slots for connections: a limit for the node, and one for each address.

use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daemon::lock::{LEAF, Lock};
use rustc_hash::FxHashMap;

use crate::metrics::{REFUSED, SOCKETS};

/// Counts open connections against the limits.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    most_per_address: Option<usize>,
    /// The open connections; counted for each address only if there is a limit.
    open: Lock<LEAF, Open>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: FxHashMap<IpAddr, usize>,
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
    All,
    Address,
}

impl Full {
    fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Address => "address",
        }
    }
}

/// One connection's slot, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    pub(super) fn new(most: usize, most_per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, open: Lock::default(), refused: AtomicU64::new(0) })
    }

    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Full> {
        let address = network(address);
        match self.try_take(address) {
            Ok(()) => {
                SOCKETS.add(&[], 1);
                Ok(Slot { slots: self.clone(), address })
            }
            Err(full) => {
                REFUSED.add(&[full.as_str()], 1);
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(full)
            }
        }
    }

    fn try_take(&self, address: IpAddr) -> Result<(), Full> {
        let mut open = self.open.lock();
        if open.all >= self.most {
            return Err(Full::All);
        }
        if let Some(most) = self.most_per_address {
            let of_address = open.by_address.entry(address).or_default();
            if *of_address >= most {
                return Err(Full::Address);
            }
            *of_address += 1;
        }
        open.all += 1;
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        let open = self.open.lock().all;
        Counts { open, refused: self.refused.load(Ordering::Relaxed) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        SOCKETS.add(&[], -1);
        let mut open = self.slots.open.lock();
        open.all -= 1;
        if let Entry::Occupied(mut of_address) = open.by_address.entry(self.address) {
            *of_address.get_mut() -= 1;
            if *of_address.get() == 0 {
                of_address.remove();
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

    #[test]
    fn slots_are_counted_in_all_and_by_network_and_come_back() {
        let slots = Slots::new(3, Some(2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = slots.take(address("2001:db8::1")).unwrap();
        let _two = slots.take(address("2001:db8::2")).unwrap();
        assert_eq!(slots.take(address("2001:db8::3")).unwrap_err(), Full::Address);
        let _other = slots.take(address("10.0.0.1")).unwrap();
        assert_eq!(slots.take(address("10.0.0.2")).unwrap_err(), Full::All);
        drop(one);
        assert!(slots.take(address("2001:db8::9")).is_ok());
        assert_eq!(slots.counts(), Counts { open: 2, refused: 2 });
    }
}
