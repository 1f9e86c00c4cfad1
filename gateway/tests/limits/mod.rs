//! Limits for tests that serve routes of their own: no session begins there.

use std::time::Duration;

use gateway::config::Limits;

const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn limits() -> Limits {
    Limits {
        max_connections: 100,
        max_connections_per_address: None,
        header_timeout: DEADLINE,
        handshake_timeout: DEADLINE,
        max_header_bytes: 8_192,
        max_request_bytes_held: 4 << 20,
        session_queue: 1,
        max_watched: 1,
        max_subscriptions: 1,
        commands_in_flight: 1,
        attaches_at_once: 1,
        command_timeout: DEADLINE,
        overload_wait: DEADLINE,
        overload_lateness: DEADLINE,
    }
}
