//! A message's state after its amendments, and the message as readers are shown
//! it.

use bytes::Bytes;
use proto::wire::{Entry, entry};
use proto::{Time, UserId};

use crate::damage::unless_damaged;
use crate::model::{CurrentMessage, LogEvent};
use crate::{Error, Result};

/// The state that amendments have given a message.
#[derive(Debug, Default)]
pub(crate) struct MessageState {
    /// The last edit.
    pub(crate) edit: Option<Entry>,
    /// Unix ms of the recall.
    pub(crate) recalled: Option<Time>,
    /// User and emoji of each reaction, the earliest first.
    pub(crate) reactions: Vec<(UserId, String)>,
}

impl MessageState {
    /// The bytes that it adds to a message, about.
    pub(crate) fn weight(&self) -> usize {
        let edit = self.edit.as_ref().map_or(0, prost::Message::encoded_len);
        let reactions = self.reactions.iter().map(|(user, emoji)| user.as_str().len() + emoji.len() + 12);
        edit + reactions.sum::<usize>()
    }

    /// The message in its present state: the body of the last edit, or none
    /// when it was recalled.
    pub(crate) fn show(self, mut message: LogEvent) -> Result<CurrentMessage> {
        let edited = self.edit.as_ref().map(|edit| Time(edit.time));
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
        Ok(CurrentMessage { message, edited, recalled: self.recalled, reactions })
    }
}
