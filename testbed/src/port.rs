//! Ports for programs that cannot be told to bind port 0 and say what they
//! got, or that must come back on the same port after a restart.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex};

/// Handed out by this process already.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A free port on 127.0.0.1. Below the range that the kernel takes outgoing
/// ports from, so that nobody's connection sits on it while a server is down.
/// Another process may take it first: callers try again with another one.
pub fn free() -> u16 {
    loop {
        let port = rand::random_range(12_000..32_000);
        let fresh = TAKEN.lock().expect("no holder panics").insert(port);
        if fresh && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
