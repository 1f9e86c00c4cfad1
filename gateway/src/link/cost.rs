//! What a request costs the router that does it.

use prost::Message as _;
use proto::RequestKind;
use proto::request::Repeat;
use proto::wire::{reply, request};

/// The cost of a request: its row of [`proto::request`], with the costs of its bytes
/// and users.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestCost {
    /// The router's CPU in µs, about.
    pub(super) cost: u64,
    /// A healthy router answers it within milliseconds. So its age shows whether the
    /// router is late.
    pub(super) hot: bool,
    pub(super) repeat: Repeat,
}

/// What a request costs, and how it may be repeated.
pub(super) fn of(command: &request::Command) -> RequestCost {
    use request::Command;
    let more = match command {
        Command::Send(send) => of_bytes(send.body.len()),
        Command::Publish(publish) => of_bytes(publish.body.len()),
        Command::Edit(edit) => of_bytes(edit.body.len()),
        Command::Presence(asked) => asked.users.len() as u64,
        Command::Unwatch(asked) => asked.users.len() as u64,
        Command::CreateGroup(asked) => 5 * asked.members.len() as u64,
        Command::AddMembers(asked) => 5 * asked.members.len() as u64,
        Command::CountRates(asked) => asked.spendings.len() as u64,
        _ => 0,
    };
    let kind = RequestKind::of(command);
    let repeat = match command {
        // With a node, the node is told of changes from now on as well.
        Command::Presence(asked) if !asked.node.is_empty() => Repeat::Late,
        _ => kind.repeat(),
    };
    RequestCost { cost: kind.cost() + more, hot: kind.is_hot(), repeat }
}

/// The cost of an answer in µs of the router's CPU, in addition to that of its
/// request.
pub(super) fn of_answer(result: &reply::Result) -> u64 {
    match result {
        reply::Result::Inbox(page) => of_bytes(page.encoded_len()),
        reply::Result::Attached(attached) => of_bytes(attached.encoded_len()),
        reply::Result::History(page) => of_bytes(page.encoded_len()),
        reply::Result::Conversations(page) => of_bytes(page.encoded_len()),
        reply::Result::Channel(page) => of_bytes(page.encoded_len()),
        _ => 0,
    }
}

/// The cost of bytes: a router copies them from a socket to the store, or back, which
/// takes about a µs for each KiB.
fn of_bytes(bytes: usize) -> u64 {
    bytes as u64 / 1_024
}
