//! Which limit each command and each resource counts for: the one place that
//! says so. A new command without a class does not compile.

use super::command::Command;

/// A class of commands and requests, with a limit of its own for each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Changes a conversation or a channel.
    Write,
    /// Brings users into a conversation that they did not ask for.
    Invite,
    /// Reads pages.
    Read,
    /// Says how far one is, or that one is there.
    Signal,
    /// Begins a session or proves who one is.
    Attach,
    /// Whatever a backend does: a token with the scope `service`.
    Service,
}

impl Class {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Write, Self::Invite, Self::Read, Self::Signal, Self::Attach, Self::Service];

    /// For metrics and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Invite => "invite",
            Self::Read => "read",
            Self::Signal => "signal",
            Self::Attach => "attach",
            Self::Service => "service",
        }
    }

    /// Between gateways and routers.
    pub(crate) fn number(self) -> u32 {
        self as u32
    }
}

impl Command {
    /// The class that it counts for, unless a backend gives it.
    pub fn class(&self) -> Class {
        match self {
            Self::Send { .. }
            | Self::SendToMany { .. }
            | Self::Publish { .. }
            | Self::Edit(..)
            | Self::Recall(..)
            | Self::React { .. }
            | Self::Rename(..)
            | Self::RemoveMember(..)
            | Self::Kick { .. } => Class::Write,
            Self::CreateGroup { .. } | Self::AddMembers(..) => Class::Invite,
            Self::History { .. }
            | Self::Conversations { .. }
            | Self::Members(_)
            | Self::Presence { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe(_) => Class::Read,
            Self::Ack(_) | Self::Read(..) | Self::Typing(_) | Self::Ping => Class::Signal,
            Self::Auth(_) => Class::Attach,
        }
    }

    /// How much it counts for: 1, or what it stands for.
    pub fn units(&self) -> u32 {
        match self {
            Self::SendToMany { to, .. } => u32::try_from(to.len()).unwrap_or(u32::MAX),
            _ => 1,
        }
    }
}
