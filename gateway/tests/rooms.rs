//! The rooms of the gateway know each other in one direction only, as the crates
//! of the workspace do (`cluster-tests/tests/dependencies.rs`).

use std::path::Path;

use testbed::Imports;

/// From the bottom to the top: each may use those before it.
const ROOMS: [&str; 17] = [
    "order",
    "protocol",
    "config",
    "metrics",
    "accept",
    "link",
    "peer",
    "session",
    "channels",
    "caller",
    "gateway",
    "transport",
    "http",
    "node",
    "cli",
    "fuzzing",
    "crate",
];

#[test]
fn no_room_knows_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let imports = Imports::read(&root);
    println!("{imports}");
    let rooms = imports.rooms();
    let rank = |room: &str| {
        let found = ROOMS.iter().position(|known| *known == room);
        found.unwrap_or_else(|| panic!("{room} is a new room: say here what it may use"))
    };
    let mut wrong = Vec::new();
    for (room, used) in rooms.edges() {
        for other in used {
            if rank(other) >= rank(room) {
                wrong.push(format!("{room} must not use {other}, which stands above it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
