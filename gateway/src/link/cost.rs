//! What the routers are asked, by kind: what it costs a router, whether a user
//! feels it when the answer is late, and how soon it may be asked of another.

use prost::Message as _;
use proto::wire::{reply, request};

/// How soon a request may go to a second router while the first, which does
/// not answer, may still do it at any time later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// As soon as the first router is known to answer late: done twice, or once
    /// more after what came behind it, it changes nothing (it has a key that
    /// repeats are known by, only reads, or only goes forward).
    Soon,
    /// Only when the first is given up: done late, it would undo what came
    /// behind it. A router that stood still for so long does nothing of what
    /// it was asked before (`router/src/pause.rs`).
    Late,
    /// Never: only the one router can answer it.
    Never,
}

/// What is known of a request by its kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// µs of a router's CPU, about.
    pub(super) cost: u64,
    /// Answered within milliseconds by a router that is well: its age says how
    /// the router is.
    pub(super) hot: bool,
    pub(super) repeat: Repeat,
}

/// The kind of a request.
pub(super) fn of(command: &request::Command) -> Kind {
    use Repeat::{Late, Never, Soon};
    use request::Command;
    let kind = |cost, hot, repeat| Kind { cost, hot, repeat };
    match command {
        Command::Send(send) => kind(25 + of_bytes(send.body.len()), true, Soon),
        Command::Publish(publish) => kind(25 + of_bytes(publish.body.len()), true, Soon),
        Command::Edit(edit) => kind(30 + of_bytes(edit.body.len()), true, Soon),
        Command::Recall(_) => kind(25, true, Soon),
        Command::React(_) => kind(25, true, Late),
        Command::Read(_) => kind(10, true, Soon),
        Command::Ack(_) => kind(5, false, Soon),
        Command::Typing(_) => kind(20, false, Soon),
        Command::ReadInbox(_) | Command::ReadChannel(_) => kind(30, false, Soon),
        Command::History(_) | Command::Conversations(_) | Command::Members(_) => kind(60, false, Soon),
        Command::Presence(asked) => kind(
            20 + asked.users.len() as u64,
            false,
            // With a node it is also told of changes from now on.
            if asked.node.is_empty() { Soon } else { Late },
        ),
        Command::Attach(_) => kind(40, false, Late),
        Command::Detach(_) => kind(15, false, Late),
        Command::CreateGroup(asked) => kind(60 + 5 * asked.members.len() as u64, false, Late),
        Command::AddMembers(asked) => kind(60 + 5 * asked.members.len() as u64, false, Late),
        Command::RemoveMember(_) | Command::Rename(_) => kind(60, false, Late),
        Command::IssueTicket(_) | Command::RedeemTicket(_) | Command::ReturnTicket(_) => {
            kind(30, false, Late)
        }
        Command::Unwatch(asked) => kind(20 + asked.users.len() as u64, false, Late),
        Command::Kick(_) => kind(60, false, Late),
        Command::CountRates(asked) => kind(5 + asked.spendings.len() as u64, false, Never),
        Command::JoinChannel(_) | Command::LeaveChannel(_) => kind(30, false, Late),
    }
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
