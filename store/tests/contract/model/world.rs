//! What a store has to say after any operations, in plain collections. Nothing is
//! fast here, and nothing is clever.

use std::collections::{BTreeMap, BTreeSet};

use store::model::{Amenders, MarkKind, MarkResult};

/// A user, by number.
pub type User = usize;

/// A conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Of two users, the lower number first.
    Direct(User, User),
    Group(usize),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Message { key: u32, text: String },
    Edit { seq: u64, key: u8, text: String, who: Amenders },
    Recall { seq: u64, who: Amenders },
    React { seq: u64, emoji: &'static str, on: bool },
    Change { expect: u64, change: Change },
}

/// A change of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    Rename(u8),
    Owner(User),
    Add(User),
    Remove(User),
}

/// What is answered to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    Done { seq: u64, duplicate: bool, position: Option<u64> },
    NotMember,
    Stale,
    NoSuchMessage,
    NotAllowed,
    Recalled,
    Unchanged,
}

impl Answer {
    /// Whether a store may answer so: of an event that another router has filed it may
    /// not know the position.
    pub fn is_told(self, answer: Self) -> bool {
        match (self, answer) {
            (Self::Done { seq, duplicate, .. }, Self::Done { position: None, .. }) => {
                answer == (Self::Done { seq, duplicate, position: None })
            }
            _ => self == answer,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub user: User,
    /// The messages after this one are seen.
    pub since: u64,
    delivered: u64,
    read: u64,
}

impl Member {
    /// As a store tells them: what was read was delivered.
    pub fn marks(&self) -> (u64, u64) {
        let read = self.read.max(self.since);
        (self.delivered.max(read), read)
    }
}

/// A message as history shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    pub by: User,
    pub text: String,
    pub edited: bool,
    pub recalled: bool,
    pub reactions: Vec<(&'static str, Vec<User>)>,
    edit_keys: BTreeSet<(User, u8)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    pub messages: Vec<Message>,
    pub version: u64,
    pub name: String,
    pub owner: User,
    pub members: Vec<Member>,
    keys: BTreeMap<(User, u32), u64>,
}

impl Conversation {
    pub fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    pub fn member(&self, user: User) -> Option<&Member> {
        self.members.iter().find(|member| member.user == user)
    }

    /// Messages of others that a member has not read, without those recalled.
    pub fn unread(&self, member: &Member) -> u64 {
        let unread = self.messages.iter().skip(member.marks().1 as usize);
        unread.filter(|message| !message.recalled).count() as u64
    }
}

/// Everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    pub conversations: BTreeMap<Place, Conversation>,
    /// Of each user: where each event belongs, and the word for it.
    pub inboxes: Vec<Vec<(Place, String)>>,
    /// Of each user: sessions in the order of attaching, with their devices.
    pub sessions: Vec<Vec<(String, String)>>,
    /// Of the channel: keys and texts.
    pub published: Vec<((User, u8), String)>,
}

impl World {
    pub fn of(users: usize) -> Self {
        Self { inboxes: vec![Vec::new(); users], sessions: vec![Vec::new(); users], ..Self::default() }
    }

    pub fn is_member(&self, user: User, place: Place) -> bool {
        self.conversations.get(&place).is_some_and(|conversation| conversation.member(user).is_some())
    }

    /// A new group, which its owner is told of.
    pub fn make_group(&mut self, group: usize, owner: User) {
        let members = vec![Member { user: owner, since: 0, delivered: 0, read: 0 }];
        let made =
            Conversation { version: 1, name: "name".into(), owner, members, ..Conversation::default() };
        self.conversations.insert(Place::Group(group), made);
        self.inboxes[owner].push((Place::Group(group), "change".into()));
    }

    pub fn post(&mut self, by: User, place: Place, asked: &Request) -> Answer {
        if let Place::Direct(one, other) = place {
            if by != one && by != other {
                return Answer::NotMember;
            }
            let both: BTreeSet<User> = [one, other].into();
            let member = |user| Member { user, since: 0, delivered: 0, read: 0 };
            let new = || Conversation {
                members: both.into_iter().map(member).collect(),
                ..Conversation::default()
            };
            self.conversations.entry(place).or_insert_with(new);
        }
        let Some(conversation) = self.conversations.get_mut(&place) else { return Answer::NotMember };
        let Some(since) = conversation.member(by).map(|member| member.since) else {
            return Answer::NotMember;
        };
        match asked {
            Request::Message { key, text } => {
                if let Some(seq) = conversation.keys.get(&(by, *key)) {
                    return Answer::Done { seq: *seq, duplicate: true, position: None };
                }
                conversation.messages.push(Message { by, text: text.clone(), ..Message::default() });
                let seq = conversation.head();
                conversation.keys.insert((by, *key), seq);
                for member in conversation.members.iter_mut().filter(|member| member.user == by) {
                    member.read = seq;
                }
                self.file(by, place, seq, 0, &format!("{seq}:{text}"))
            }
            Request::Change { expect, change } => self.change(by, place, *expect, *change),
            Request::Edit { seq, who, .. } | Request::Recall { seq, who } => {
                self.amend(by, place, (*seq, since), *who, asked)
            }
            Request::React { seq, .. } => self.amend(by, place, (*seq, since), Amenders::Anyone, asked),
        }
    }

    fn amend(
        &mut self,
        by: User,
        place: Place,
        (seq, since): (u64, u64),
        who: Amenders,
        asked: &Request,
    ) -> Answer {
        let Some(conversation) = self.conversations.get_mut(&place) else { return Answer::NotMember };
        let owner = matches!(place, Place::Group(_)).then_some(conversation.owner);
        let index = (seq as usize).wrapping_sub(1);
        let Some(message) = conversation.messages.get_mut(index).filter(|_| seq > since) else {
            return Answer::NoSuchMessage;
        };
        let allowed = match who {
            Amenders::Anyone => true,
            Amenders::Sender => message.by == by,
            Amenders::SenderOrAdmin => message.by == by || owner == Some(by),
        };
        if !allowed {
            return Answer::NotAllowed;
        }
        let word = match asked {
            Request::Recall { .. } if message.recalled => return Answer::Unchanged,
            _ if message.recalled => return Answer::Recalled,
            Request::Recall { .. } => {
                (message.recalled, message.text) = (true, String::new());
                message.reactions.clear();
                format!("recall {seq}")
            }
            Request::Edit { key, text, .. } => {
                if !message.edit_keys.insert((by, *key)) {
                    return Answer::Unchanged;
                }
                (message.edited, message.text) = (true, text.clone());
                format!("edit {seq}:{text}")
            }
            Request::React { emoji, on, .. } => {
                let of_emoji = message.reactions.iter_mut().find(|(known, _)| known == emoji);
                let there = of_emoji.as_ref().is_some_and(|(_, users)| users.contains(&by));
                if there == *on {
                    return Answer::Unchanged;
                }
                match of_emoji {
                    Some((_, users)) if *on => users.push(by),
                    Some((_, users)) => users.retain(|user| *user != by),
                    None => message.reactions.push((emoji, vec![by])),
                }
                message.reactions.retain(|(_, users)| !users.is_empty());
                format!("{emoji}{}{seq}", if *on { '+' } else { '-' })
            }
            Request::Message { .. } | Request::Change { .. } => panic!("no amendment: {asked:?}"),
        };
        self.file(by, place, seq, seq, &word)
    }

    fn change(&mut self, by: User, place: Place, expect: u64, change: Change) -> Answer {
        let Some(conversation) = self.conversations.get_mut(&place) else { return Answer::NotMember };
        if conversation.version != expect {
            return Answer::Stale;
        }
        conversation.version += 1;
        let head = conversation.head();
        match change {
            Change::Rename(number) => conversation.name = format!("name {number}"),
            Change::Owner(user) => conversation.owner = user,
            Change::Add(user) if conversation.member(user).is_none() => {
                conversation.members.push(Member { user, since: head, delivered: 0, read: 0 });
            }
            _ => {}
        }
        let answer = self.file(by, place, head, u64::MAX, "change");
        let Change::Remove(gone) = change else { return answer };
        let conversation = self.conversations.get_mut(&place).expect("it was there");
        conversation.members.retain(|member| member.user != gone);
        answer
    }

    /// Files for all members, or of an amendment for those who see what it amends.
    fn file(&mut self, by: User, place: Place, seq: u64, amends: u64, word: &str) -> Answer {
        for member in &self.conversations[&place].members {
            if amends == 0 || member.since < amends {
                self.inboxes[member.user].push((place, word.to_owned()));
            }
        }
        Answer::Done { seq, duplicate: false, position: Some(self.inboxes[by].len() as u64) }
    }

    pub fn mark(&mut self, user: User, place: Place, kind: MarkKind, seq: u64) -> MarkResult {
        let Some(conversation) = self.conversations.get_mut(&place) else { return MarkResult::NotMember };
        let head = conversation.head();
        let of_user = conversation.members.iter_mut().find(|member| member.user == user);
        let Some(member) = of_user.filter(|_| head > 0 || matches!(place, Place::Group(_))) else {
            return MarkResult::NotMember;
        };
        if seq > head {
            return MarkResult::BeyondHead;
        }
        let mark = match kind {
            MarkKind::Delivered => &mut member.delivered,
            MarkKind::Read => &mut member.read,
        };
        if seq <= member.since.max(*mark) {
            return MarkResult::Unchanged;
        }
        *mark = seq;
        MarkResult::Advanced
    }

    /// Everything up to a position has reached the user: the marks that this moves.
    pub fn acknowledge(&mut self, user: User, position: usize) -> BTreeMap<Place, u64> {
        let mut newest = BTreeMap::new();
        for (place, word) in &self.inboxes[user][..position] {
            let seq = word.split_once(':').and_then(|(seq, _)| seq.parse::<u64>().ok());
            newest.extend(seq.map(|seq| (*place, seq)));
        }
        newest
            .retain(|place, seq| self.mark(user, *place, MarkKind::Delivered, *seq) == MarkResult::Advanced);
        newest
    }

    /// A session begins: it takes the place of another of its device.
    pub fn attach(&mut self, user: User, session: &str, device: &str) -> Vec<String> {
        let (replaced, kept) =
            std::mem::take(&mut self.sessions[user]).into_iter().partition(|(_, of)| of == device);
        self.sessions[user] = kept;
        self.sessions[user].push((session.to_owned(), device.to_owned()));
        let replaced: Vec<(String, String)> = replaced;
        replaced.into_iter().map(|(session, _)| session).collect()
    }

    /// Its seq, and whether it was there.
    pub fn publish(&mut self, by: User, key: u8, text: &str) -> (u64, bool) {
        if let Some(at) = self.published.iter().position(|(known, _)| *known == (by, key)) {
            return (at as u64 + 1, true);
        }
        self.published.push(((by, key), text.to_owned()));
        (self.published.len() as u64, false)
    }

    /// What a member sees of a conversation's messages, each with its seq; nothing
    /// for who is none.
    pub fn history(&self, user: User, place: Place) -> Option<Vec<(u64, Message)>> {
        let conversation = self.conversations.get(&place)?;
        let since = conversation.member(user)?.since;
        let messages = (1..).zip(conversation.messages.iter().cloned());
        Some(messages.filter(|(seq, _)| *seq > since).collect())
    }

    /// The conversations of a user, each with the position of its newest event.
    pub fn memberships(&self, user: User) -> BTreeMap<Place, u64> {
        let of_user = self.conversations.iter().filter(|(_, one)| one.member(user).is_some());
        let newest = |place: &Place| self.inboxes[user].iter().rposition(|(of, _)| of == place);
        of_user.filter_map(|(place, _)| Some((*place, newest(place)? as u64 + 1))).collect()
    }
}
