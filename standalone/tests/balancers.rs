//! What a load balancer must do is said in one place, `deploy/balancers`: its
//! figures are the code's, and the other documents and configurations have the
//! same or none.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use gateway::transport::poll::MAX_WAIT;

/// Seconds that a request, a stream or a WebSocket may be silent.
const SILENCE: u64 = 90;
/// `heartbeat_ms` of PROTOCOL.md §4, in seconds.
const HEARTBEAT: u64 = 25;

fn text(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

fn has(file: &str, wanted: &str) {
    assert!(text(file).contains(wanted), "{file} has no `{wanted}`");
}

#[test]
fn the_one_place_has_the_figures_of_the_code() {
    // Twice the longest that is silent: a machine may be slow, a clock coarse.
    const { assert!(SILENCE >= 2 * MAX_WAIT && SILENCE >= 2 * HEARTBEAT) };
    let file = "deploy/balancers/README.md";
    has(file, &format!("**{SILENCE} seconds**"));
    has(file, &format!("a heartbeat every {HEARTBEAT} s, and a poll is answered after {MAX_WAIT} s"));
    has(file, "`--header-timeout` (10 s)");
    has("docs/PROTOCOL.md", &format!("(0 to {MAX_WAIT};"));
}

#[test]
fn others_say_the_same_or_lead_there() {
    for file in [
        "README.md",
        "docs/RUNBOOKS.md",
        "deploy/helm/switchboard/templates/NOTES.txt",
        "deploy/helm/switchboard/values.yaml",
    ] {
        has(file, "deploy/balancers/README.md");
    }
    has("deploy/haproxy/haproxy.cfg", "../balancers/README.md");
    has("deploy/helm/switchboard/templates/NOTES.txt", &format!("{SILENCE} seconds of silence"));
    for direction in ["read", "send"] {
        let annotation = format!("nginx.ingress.kubernetes.io/proxy-{direction}-timeout: \"{SILENCE}\"");
        has("deploy/helm/switchboard/values.yaml", &annotation);
        has("deploy/balancers/nginx.conf", &format!("proxy_{direction}_timeout {SILENCE}s;"));
    }
    for side in ["client", "server", "tunnel"] {
        has("deploy/haproxy/haproxy.cfg", &format!("timeout {side} {SILENCE}s\n"));
    }
}

/// Idle connections to gateways end there first, or gateways keep them longer.
#[test]
fn no_gateway_closes_a_connection_that_its_balancer_still_keeps() {
    has("deploy/haproxy/haproxy.cfg", "pool-purge-delay 2s");
    has("deploy/balancers/nginx.conf", "    keepalive_timeout 5s;");
    has("deploy/balancers/Caddyfile", "keepalive 5s");
    has("deploy/helm/switchboard/values.yaml", "headerTimeout: 75s");
}
