//! A receipt as this node passes it on: encoded once as JSON, shared by all the
//! sessions that are told. In a group these are many.

use std::ops::Deref;
use std::sync::OnceLock;

use proto::UserId;
use proto::wire::{self, receipt::Kind};

use crate::protocol::json::put;
use crate::protocol::mark::Mark;

/// How far a member is, for the others.
#[derive(Debug)]
pub struct Receipt {
    mark: wire::Receipt,
    /// What follows the `type` in the JSON frame, with the closing brace.
    json: OnceLock<Box<str>>,
}

impl Receipt {
    /// What it says.
    pub(crate) fn mark(&self) -> Mark<'_> {
        (&self.mark).into()
    }

    /// Whether this user's sessions get it: an own `delivered` is for the others.
    pub(crate) fn is_for(&self, user: &UserId) -> bool {
        self.mark.kind() == Kind::Read || self.mark.user != user.as_str()
    }

    /// The frame's members after `type`, with the closing brace.
    pub(crate) fn json(&self) -> &str {
        self.json.get_or_init(|| {
            let wire::Receipt { conversation, user, seq, .. } = &self.mark;
            let mut out = String::with_capacity(conversation.len() + user.len() + 64);
            put!(&mut out, r#","conversation":""#, conversation, r#"","user":""#, user);
            put!(&mut out, r#"","kind":""#, self.kind_word(), r#"","seq":"#, seq, "}");
            out.into_boxed_str()
        })
    }

    /// `kind`, as clients have it.
    pub(crate) fn kind_word(&self) -> &'static str {
        match self.mark.kind() {
            Kind::Read => "read",
            _ => "delivered",
        }
    }
}

impl From<wire::Receipt> for Receipt {
    fn from(mark: wire::Receipt) -> Self {
        Self { mark, json: OnceLock::new() }
    }
}

impl Deref for Receipt {
    type Target = wire::Receipt;

    fn deref(&self) -> &wire::Receipt {
        &self.mark
    }
}
