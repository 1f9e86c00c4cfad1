//! What a request costs the router that does it.

use prost::Message as _;
use proto::RequestKind;
use proto::request::Repeat;
use proto::wire::{reply, request};

/// What is known of a request: its row of [`proto::request`], with what its bytes
/// and users cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestCost {
    /// µs of a router's CPU, about.
    pub(super) cost: u64,
    /// Answered within milliseconds by a router that is well: its age says how
    /// the router is.
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
        // With a node it is also told of changes from now on.
        Command::Presence(asked) if !asked.node.is_empty() => Repeat::Late,
        _ => kind.repeat(),
    };
    RequestCost { cost: kind.cost() + more, hot: kind.is_hot(), repeat }
}

/// µs of a router's CPU for what an answer carries, beyond those of its
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

/// A router copies what it carries from socket to store, or back: about a µs
/// for each KiB.
fn of_bytes(bytes: usize) -> u64 {
    bytes as u64 / 1_024
}
