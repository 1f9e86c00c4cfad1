//! What has become of an amended message, and the message as it is shown then.

use bytes::Bytes;
use proto::UserId;
use proto::wire::{Entry, entry};

use crate::damage::unless_damaged;
use crate::model::{Logged, Shown};
use crate::{Error, Result};

/// What amendments have made of a message.
#[derive(Debug, Default)]
pub(crate) struct Amended {
    /// The last edit.
    pub(crate) edit: Option<Entry>,
    /// Unix ms of the recall.
    pub(crate) recalled: Option<u64>,
    /// Who has reacted with what, in the order of reacting.
    pub(crate) reactions: Vec<(UserId, String)>,
}

impl Amended {
    /// The message with its present body.
    pub(crate) fn show(self, mut message: Logged) -> Result<Shown> {
        let edited = self.edit.as_ref().map(|edit| edit.time);
        let body = match (self.recalled, self.edit) {
            (Some(_), _) => Some(Bytes::new()),
            (None, Some(Entry { what: Some(entry::What::Edited(edited)), .. })) => Some(edited.body),
            (None, Some(_)) => {
                unless_damaged::<()>(Err(Error::Corrupt("an edit that is none".into())), "an edit")?;
                None
            }
            (None, None) => None,
        };
        if let (Some(body), Some(entry::What::Message(written))) = (body, &mut message.entry.what) {
            written.body = body;
        }
        let mut reactions: Vec<(String, Vec<UserId>)> = Vec::new();
        for (user, emoji) in self.reactions {
            match reactions.iter_mut().find(|(known, _)| *known == emoji) {
                Some((_, users)) => users.push(user),
                None => reactions.push((emoji, vec![user])),
            }
        }
        Ok(Shown { message, edited, recalled: self.recalled, reactions })
    }
}
