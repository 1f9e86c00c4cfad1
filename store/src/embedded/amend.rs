//! Amends messages, inside the writer's transaction; and reads the state that
//! amendments have given to a message.

use prost::Message as _;
use proto::{ConversationId, Role, Seq, Time};
use redb::{ReadTransaction, ReadableTable};

use super::inbox::{self, entry as log_entry, release};
use super::post::{PendingAnnouncement, Posting};
use super::tables::{
    AMENDED, AmendedRow, InboxRow, LOG, RECALLED, ReactionRow, Tables, conversation, decode, member, members,
    number, user_id,
};
use crate::damage::unless_damaged;
use crate::message_state::MessageState;
use crate::model::{Amenders, Amendment, Post, PostResult};
use crate::{Error, Result};

impl Posting<'_, '_> {
    pub(super) fn amend(
        &mut self,
        post: &Post,
        seq: Seq,
        who: Amenders,
        amendment: &Amendment,
    ) -> Result<PostResult> {
        let Some(conversation) = number(&self.tables.conversation_numbers, post.conversation.as_str())?
        else {
            return Ok(nowhere(&post.conversation, post));
        };
        let by = number(&self.tables.user_numbers, post.by.as_str())?.unwrap_or(0);
        let Some(own) = member(&self.tables.members, conversation, by)? else {
            return Ok(PostResult::NotMember);
        };
        let mut row = self::conversation(&self.tables.conversations, conversation)?;
        if seq.0 < row.first || seq.0 > row.head || seq.0 <= own.since {
            return Ok(PostResult::NoSuchMessage);
        }
        let edit_key = match amendment {
            Amendment::Edit { repeat_key } => Some(format!("{}\0{repeat_key}", seq.0)),
            Amendment::Recall | Amendment::React { .. } => None,
        };
        let is_repeat = match &edit_key {
            Some(key) => self.tables.repeats.get((conversation, by, key.as_str()))?.is_some(),
            None => false,
        };
        // A reader takes back what it wrote before, and nothing else.
        let role = row.role(&post.by)?;
        if role == Role::Reader && *amendment != Amendment::Recall && !is_repeat {
            return Ok(PostResult::NotAllowed);
        }
        let may = match who {
            Amenders::Anyone => true,
            Amenders::SenderOrAdmin if role >= Role::Admin => true,
            Amenders::Sender | Amenders::SenderOrAdmin => self.sent(conversation, seq, post)?,
        };
        if !may {
            return Ok(PostResult::NotAllowed);
        }
        let known = self.tables.amended.get((conversation, seq.0))?;
        let known = known.map(|row| decode::<AmendedRow>(row.value())).transpose()?;
        let is_new = known.is_none();
        let mut amended = known.unwrap_or_default();
        let replaced = match self.apply_amendment(&mut amended, post, amendment, is_repeat) {
            Ok(replaced) => replaced,
            Err(refusal) => return Ok(refusal),
        };

        let readers = members(&self.tables.members, conversation)?;
        let readers: Vec<_> = readers.into_iter().filter(|(_, member)| member.since < seq.0).collect();
        let entry = &post.entries[0];
        let log = self.append(&row.id, 0, entry, readers.len() + usize::from(edit_key.is_some()))?;
        if let Some(key) = edit_key {
            amended.edit = log;
            self.tables.repeats.insert((conversation, by, key.as_str()), (seq.0, entry.time.0))?;
            self.tables.repeat_ends.insert(log, (self.now, conversation, by, key.as_str()))?;
        }
        if let Some(replaced) = replaced {
            release(self.tables, replaced)?;
        }
        if *amendment == Amendment::Recall {
            self.tables.recalled.insert((conversation, seq.0), ())?;
        }
        self.tables.amended.insert((conversation, seq.0), amended.encode_to_vec().as_slice())?;
        if is_new {
            row.amended += 1;
            self.tables.conversations.insert(conversation, row.encode_to_vec().as_slice())?;
        }

        let filing = InboxRow { log, conversation, seq: 0, time: self.now, fingerprint: entry.fingerprint };
        let mut told = Vec::with_capacity(readers.len());
        let mut own = None;
        for (number, mut member) in readers {
            let position = inbox::file(self.tables, number, filing, self.bounds)?;
            member.activity = position.0;
            self.tables.members.insert((conversation, number), member.encode_to_vec().as_slice())?;
            if number == by {
                own = Some(self.own_position(position, entry.fingerprint));
            }
            told.push((member.user, position));
        }
        self.announcements.push(PendingAnnouncement {
            conversation: post.conversation.clone(),
            seq: Seq(0),
            entries: vec![entry.bytes.clone()],
            readers: told,
            except: None,
            trace: post.trace.clone(),
        });
        Ok(PostResult::Done { seq, time: entry.time, duplicate: false, position: own })
    }

    /// Whether `post.by` wrote the message, which must exist.
    fn sent(&self, conversation: u64, seq: Seq, post: &Post) -> Result<bool> {
        let row = self.tables.messages.get((conversation, seq.0))?;
        let (log, _) = row.ok_or_else(|| Error::Corrupt("a message without its entry".into()))?.value();
        Ok(log_entry(&self.tables.log, log)?.entry.by == post.by.as_str())
    }

    /// Changes the row. Returns the log number of the edit that is replaced, or
    /// the refusal.
    fn apply_amendment(
        &self,
        row: &mut AmendedRow,
        post: &Post,
        amendment: &Amendment,
        is_repeat: bool,
    ) -> std::result::Result<Option<u64>, PostResult> {
        if row.recalled > 0 {
            return Err(match amendment {
                Amendment::Recall => PostResult::Unchanged,
                Amendment::Edit { .. } | Amendment::React { .. } => PostResult::Recalled,
            });
        }
        match amendment {
            Amendment::Edit { .. } if is_repeat => return Err(PostResult::Unchanged),
            Amendment::Edit { .. } => return Ok((row.edit > 0).then_some(row.edit)),
            // A time of 0 would mean "not recalled".
            Amendment::Recall => row.recalled = post.entries[0].time.0.max(1),
            Amendment::React { emoji, on } => {
                let is_own = |other: &ReactionRow| other.user == post.by.as_str() && other.emoji == **emoji;
                let set = row.reactions.iter().position(is_own);
                match (on, set) {
                    (true, Some(_)) | (false, None) => return Err(PostResult::Unchanged),
                    (true, None) if row.reactions.len() as u64 >= self.bounds.reactions => {
                        return Err(PostResult::TooManyReactions);
                    }
                    (true, None) => {
                        let (user, emoji) = (post.by.to_string(), emoji.to_string());
                        row.reactions.push(ReactionRow { user, emoji });
                    }
                    (false, Some(index)) => {
                        row.reactions.remove(index);
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The result for a conversation that is not stored. A direct one without
/// messages exists for its two users.
fn nowhere(id: &ConversationId, post: &Post) -> PostResult {
    match id.pair() {
        Some((one, other)) if post.by == one || post.by == other => PostResult::NoSuchMessage,
        _ => PostResult::NotMember,
    }
}

/// Removes the state of a message that is trimmed. Returns whether there was
/// any.
pub(super) fn forget(tables: &mut Tables<'_>, conversation: u64, seq: u64) -> Result<bool> {
    let removed = tables.amended.remove((conversation, seq))?;
    let row = removed.map(|row| decode::<AmendedRow>(row.value())).transpose()?;
    let Some(row) = row else { return Ok(false) };
    tables.recalled.remove((conversation, seq))?;
    if row.edit > 0 {
        release(tables, row.edit)?;
    }
    Ok(true)
}

/// The state of a message.
pub(super) fn amended(txn: &ReadTransaction, conversation: u64, seq: u64) -> Result<MessageState> {
    let table = txn.open_table(AMENDED)?;
    let Some(row) = table.get((conversation, seq))? else {
        return Ok(MessageState::default());
    };
    let row: AmendedRow = decode(row.value())?;
    let edit = match row.edit {
        0 => None,
        log => {
            let edit = log_entry(&txn.open_table(LOG)?, log);
            unless_damaged(edit, format_args!("the edit of message {seq}"))?.map(|edit| edit.entry)
        }
    };
    let reactions = row.reactions.into_iter().map(|row| Ok((user_id(&row.user)?, row.emoji)));
    Ok(MessageState {
        edit,
        recalled: (row.recalled > 0).then_some(Time(row.recalled)),
        reactions: reactions.collect::<Result<_>>()?,
    })
}

/// How many messages from `after` (without it) to `upto` were recalled.
pub(super) fn recalled(txn: &ReadTransaction, conversation: u64, after: u64, upto: u64) -> Result<u64> {
    if after >= upto {
        return Ok(0);
    }
    let table = txn.open_table(RECALLED)?;
    let mut count = 0;
    for row in table.range((conversation, after + 1)..=(conversation, upto))? {
        row?;
        count += 1;
    }
    Ok(count)
}
