//! The judgement: how much of what there was, and the violations, the first
//! ones in words.

use std::fmt;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Violation {
    /// Acknowledged, and not with a device that should have it.
    Missing {
        /// `user/device`.
        device: String,
        /// The conversation that it is in.
        conversation: String,
        /// Its number there.
        seq: u64,
        /// Which, in its sender's words.
        client_msg_id: String,
    },
    /// An edit that was answered, and not told to a device that has the message.
    EditMissing {
        /// `user/device`.
        device: String,
        /// The conversation that it is in.
        conversation: String,
        /// The message's number there.
        seq: u64,
        /// Which edit, in its author's words.
        id: String,
    },
    /// Never acknowledged, and with some of those who should have it.
    Partial {
        /// `user/device` that has it not.
        device: String,
        /// The conversation that it is in.
        conversation: String,
        /// Its number there.
        seq: u64,
    },
    /// A device got a message twice.
    Repeated {
        /// `user/device`.
        device: String,
        /// The conversation that it is in.
        conversation: String,
        /// Its number there.
        seq: u64,
    },
    /// A device got a message after a later one of the same conversation.
    Reordered {
        /// `user/device`.
        device: String,
        /// The conversation that it is in.
        conversation: String,
        /// Its number there.
        seq: u64,
        /// The one before it.
        after: u64,
    },
    /// A device got a message without the one before.
    Hole {
        /// `user/device`.
        device: String,
        /// The conversation that it is in.
        conversation: String,
        /// The one before the hole.
        after: u64,
        /// The one after it.
        seq: u64,
    },
    /// The positions of a device's inbox do not follow one another.
    InboxOrder {
        /// `user/device`.
        device: String,
        /// The position before.
        after: String,
        /// The position that came.
        cursor: String,
    },
    /// Two devices of a user saw the same events in different orders.
    Disagree {
        /// `user/device`.
        one: String,
        /// `user/device`.
        other: String,
        /// The position of both.
        cursor: String,
    },
    /// One message under two numbers, or one number for two messages.
    Confused {
        /// The conversation that it is in.
        conversation: String,
        /// What is known of it.
        what: String,
    },
    /// A message that nobody sent.
    Invented {
        /// `user/device`.
        device: String,
        /// The conversation that it is in.
        conversation: String,
        /// Its number there.
        seq: u64,
    },
    /// A device was told of a mark that is lower than the one before.
    MarkBack {
        /// `user/device`.
        device: String,
        /// The conversation that it is in.
        conversation: String,
        /// The user whose mark it is.
        user: String,
        /// Up to there.
        seq: u64,
        /// The one before.
        after: u64,
    },
    /// A `reset` or `channel_reset` where nothing had happened to the store.
    Reset {
        /// `user/device`.
        device: String,
        /// As the server gave it.
        reason: String,
    },
}

/// What the checker found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Messages that were to be sent.
    pub sent: usize,
    /// Of them acknowledged.
    pub acknowledged: usize,
    /// Copies received by devices.
    pub received: usize,
    /// Resets that devices were told.
    pub resets: usize,
    /// What was wrong, in the order of the checks.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Fails a test with the first violations in words.
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }

    /// How many of a kind there are.
    pub fn count(&self, is: impl Fn(&Violation) -> bool) -> usize {
        self.violations.iter().filter(|violation| is(violation)).count()
    }

    /// Acknowledged and not received, or received by some only.
    pub fn missing(&self) -> usize {
        self.count(|v| {
            matches!(
                v,
                Violation::Missing { .. }
                    | Violation::EditMissing { .. }
                    | Violation::Partial { .. }
                    | Violation::Hole { .. }
            )
        })
    }

    /// Deliveries of a message that its device had already.
    pub fn repeated(&self) -> usize {
        self.count(|v| matches!(v, Violation::Repeated { .. }))
    }

    /// Received in the wrong order.
    pub fn reordered(&self) -> usize {
        self.count(|v| {
            matches!(
                v,
                Violation::Reordered { .. } | Violation::InboxOrder { .. } | Violation::Disagree { .. }
            )
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sent, {} acknowledged, {} received, {} resets: ",
            self.sent, self.acknowledged, self.received, self.resets
        )?;
        if self.is_clean() {
            return f.write_str("every promise was kept");
        }
        write!(f, "{} violations", self.violations.len())?;
        for violation in self.violations.iter().take(12) {
            write!(f, "\n  {violation}")?;
        }
        if self.violations.len() > 12 {
            f.write_str("\n  …")?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { device, conversation, seq, client_msg_id } => write!(
                f,
                "missing: {conversation} #{seq} ({client_msg_id}) was acknowledged and never reached {device}"
            ),
            Self::EditMissing { device, conversation, seq, id } => {
                write!(
                    f,
                    "missing: the edit {id} of {conversation} #{seq} was answered and never reached {device}"
                )
            }
            Self::Partial { device, conversation, seq } => {
                write!(f, "partial: {conversation} #{seq} reached another device and not {device}")
            }
            Self::Repeated { device, conversation, seq } => {
                write!(f, "repeated: {device} got {conversation} #{seq} again")
            }
            Self::Reordered { device, conversation, seq, after } => {
                write!(f, "reordered: {device} got {conversation} #{seq} after #{after}")
            }
            Self::Hole { device, conversation, after, seq } => {
                write!(f, "hole: {device} got {conversation} #{seq} next after #{after}")
            }
            Self::InboxOrder { device, after, cursor } => {
                write!(f, "inbox: {device} got the position {cursor} next after {after}")
            }
            Self::Disagree { one, other, cursor } => {
                write!(f, "disagree: {one} and {other} saw different events at {cursor}")
            }
            Self::Confused { conversation, what } => write!(f, "confused: {conversation}: {what}"),
            Self::Invented { device, conversation, seq } => {
                write!(f, "invented: {device} got {conversation} #{seq}, which nobody sent")
            }
            Self::MarkBack { device, conversation, user, seq, after } => {
                write!(f, "receipt: {device} was told that {user} is at {conversation} #{seq} after #{after}")
            }
            Self::Reset { device, reason } => {
                write!(f, "reset: {device} was told `{reason}`, and nothing had happened to the store")
            }
        }
    }
}
