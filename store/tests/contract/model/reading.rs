//! What is read of a store, in the model's words.

use proto::{Cursor, Fingerprint, Seq};
use store::Store;
use store::model::{ChannelQuery, CurrentMessage, HistoryQuery, HistoryRange, InboxQuery};

use super::USERS;
use super::case::Case;
use super::world::{Message, Place, User, World};
use crate::contract::harness::{assert_no_holes, text, word};

/// A page of an inbox from its beginning.
pub struct Read {
    pub words: Vec<(Place, String)>,
    /// The last event's cursor.
    pub end: Option<Cursor>,
}

/// A message as history shows it, with its seq.
pub type Shown = (u64, User, String, bool, bool, Vec<(String, Vec<User>)>);

/// The part of a member's messages that a page has.
pub fn part(messages: Vec<(u64, Message)>, range: HistoryRange, limit: usize) -> Vec<Shown> {
    let mut messages: Vec<_> = messages
        .into_iter()
        .filter(|(seq, _)| match range {
            HistoryRange::Newest => true,
            HistoryRange::Before(before) => *seq < before.0,
            HistoryRange::After(after) => *seq > after.0,
        })
        .map(|(seq, message)| {
            let reactions =
                message.reactions.iter().map(|(emoji, users)| ((*emoji).to_owned(), users.clone()));
            (
                seq,
                message.by,
                message.text,
                message.edited && !message.recalled,
                message.recalled,
                reactions.collect(),
            )
        })
        .collect();
    match range {
        HistoryRange::After(_) => messages.truncate(limit),
        _ => drop(messages.drain(..messages.len().saturating_sub(limit))),
    }
    messages
}

impl Case {
    pub(super) async fn read(&self, store: &dyn Store, user: User, limit: usize) -> Read {
        let query = InboxQuery {
            user: self.users[user].clone(),
            after: Cursor::ORIGIN,
            limit,
            session: None,
            marks: None,
        };
        let page = store.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!(page.reset, None);
        assert_no_holes(&page.events);
        let words =
            page.events.iter().map(|filed| (self.place(&filed.event.conversation), word(&filed.event)));
        let words = words.collect();
        let end = page.events.last().map(|last| Cursor {
            position: last.position,
            fingerprint: Fingerprint(last.event.entry.fingerprint),
        });
        Read { words, end }
    }

    pub(super) async fn history(
        &self,
        store: &dyn Store,
        user: User,
        place: Place,
        range: HistoryRange,
        limit: usize,
    ) -> Option<Vec<Shown>> {
        let (conversation, user) = (self.conversation(place), self.users[user].clone());
        let page = store.history(HistoryQuery { user, conversation, range, limit }).await.unwrap()?;
        Some(page.messages.into_iter().map(|message| self.shown(message)).collect())
    }

    fn shown(&self, message: CurrentMessage) -> Shown {
        let user = |id: &str| self.users.iter().position(|user| user.as_str() == id).unwrap();
        let reactions = message
            .reactions
            .iter()
            .map(|(emoji, users)| (emoji.clone(), users.iter().map(|id| user(id.as_str())).collect()));
        let recalled = message.recalled.is_some();
        let entry = &message.message.entry;
        let text = text(entry).unwrap();
        let edited = message.edited.is_some() && !recalled;
        (message.message.seq.0, user(&entry.by), text, edited, recalled, reactions.collect())
    }

    pub(super) fn place(&self, conversation: &proto::ConversationId) -> Place {
        let direct = (0..USERS).flat_map(|one| (one..USERS).map(move |other| Place::Direct(one, other)));
        let mut all = direct.chain((0..self.groups.len()).map(Place::Group));
        all.find(|place| self.conversation(*place) == *conversation).unwrap()
    }

    /// Compares everything that can be read; one of the worlds has all of it.
    pub(super) async fn compare(&mut self) {
        for router in [self.stores.one.clone(), self.stores.two.clone()] {
            for user in 0..USERS {
                self.compare_user(&*router, user).await;
            }
            let query = ChannelQuery { channel: self.channel.clone(), after: Seq(0), limit: 100 };
            let log = router.read_channels(vec![query]).await.unwrap().remove(0);
            let published: Vec<_> = log.publications.iter().map(|(_, entry)| text(entry).unwrap()).collect();
            let texts =
                |world: &World| world.published.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
            self.expect("the channel", &published, |world| texts(world));
        }
    }

    async fn compare_user(&mut self, router: &dyn Store, user: User) {
        let read = self.read(router, user, 1_000).await;
        self.expect(&format!("the inbox of {user}"), &read.words, |world| world.inboxes[user].clone());
        let memberships = router.memberships(&self.users[user]).await.unwrap();
        let memberships: std::collections::BTreeMap<_, _> =
            memberships.into_iter().map(|one| (self.place(&one.conversation), one.activity.0)).collect();
        self.expect(&format!("the memberships of {user}"), &memberships, |world| world.memberships(user));
        let located = router.locate(std::slice::from_ref(&self.users[user])).await.unwrap().remove(0);
        let mut sessions: Vec<_> = located.iter().map(|one| one.session.as_str().to_owned()).collect();
        sessions.sort();
        self.expect(&format!("the sessions of {user}"), &sessions, |world| {
            let mut sessions: Vec<_> =
                world.sessions[user].iter().map(|(session, _)| session.clone()).collect();
            sessions.sort();
            sessions
        });
        let places: Vec<Place> = memberships.into_keys().collect();
        for place in places {
            let shown =
                self.history(router, user, place, HistoryRange::Newest, 100).await.unwrap_or_default();
            self.expect(&format!("the history of {place:?} for {user}"), &shown, |world| {
                part(world.history(user, place).unwrap_or_default(), HistoryRange::Newest, 100)
            });
            let (id, reader) = (self.conversation(place), self.users[user].clone());
            let state = router.conversations(&[id], Some(&reader)).await.unwrap().remove(0);
            let state = state.map(|state| {
                let own = state.members.iter().find(|member| member.user == reader).unwrap();
                let group = state.group.map(|group| (group.name, group.version.0));
                (state.head.0, state.unread, (own.since.0, own.delivered.0, own.read.0), group)
            });
            self.expect(&format!("the state of {place:?} for {user}"), &state, |world| {
                let conversation = &world.conversations[&place];
                let member = conversation.member(user)?;
                let (delivered, read) = member.marks();
                let group = matches!(place, Place::Group(_))
                    .then(|| (conversation.name.clone(), conversation.version));
                Some((
                    conversation.head(),
                    conversation.unread(member),
                    (member.since, delivered, read),
                    group,
                ))
            });
        }
    }

    /// Keeps the worlds that have this.
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, of: impl Fn(&World) -> T) {
        self.only(&(what, found), |world| of(world) == *found);
    }
}
