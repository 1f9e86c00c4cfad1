//! One case: the operations go to a store and to the worlds that it may be in. What
//! it answers tells which of them are possible.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use proto::{ChannelId, ConversationId, Cursor, DeviceId, Seq, SessionId, UserId};
use store::Store;
use store::model::{
    Acknowledge, AcknowledgeResult, Amenders, Attach, Broadcast, Detach, Location, Mark, Post, PostResult,
    StartPoint, Version,
};

use super::reading::part;
use super::world::{Answer, Change, Place, Request, User, World};
use super::{GROUPS, Lost, Step, USERS, What};
use crate::contract::fuzz::cut;
use crate::contract::harness::{Kind, Node, Stores, changed, keyed, keyed_edit, only, react, recall};

/// Repeat keys from here on are used once.
const UNIQUE: u32 = 1_000;

/// A store, and the worlds that it may be in.
pub(super) struct Case {
    pub(super) stores: Stores,
    node: Node,
    pub(super) users: Vec<UserId>,
    pub(super) groups: Vec<ConversationId>,
    pub(super) channel: ChannelId,
    pub(super) worlds: Vec<World>,
}

impl Case {
    pub(super) async fn begin(kind: Kind) -> Self {
        let stores = kind.open().await;
        let users: Vec<UserId> = (0..USERS).map(|number| stores.user(&format!("u{number}"))).collect();
        let (mut world, mut groups) = (World::of(USERS), Vec::new());
        for (number, owner) in users.iter().enumerate().take(GROUPS) {
            groups.push(stores.group(&[owner]).await);
            world.make_group(number, number);
        }
        let node = stores.node("gw").await;
        let channel = ChannelId::parse(&format!("c_{}", users[0].as_str())).unwrap();
        Self { stores, node, users, groups, channel, worlds: vec![world] }
    }

    pub(super) fn conversation(&self, place: Place) -> ConversationId {
        match place {
            Place::Direct(one, other) => ConversationId::direct(&self.users[one], &self.users[other]),
            Place::Group(number) => self.groups[number].clone(),
        }
    }

    /// Keeps the worlds in which this holds; each may change by it. `what` was found.
    pub(super) fn only(&mut self, what: &dyn Debug, mut holds: impl FnMut(&mut World) -> bool) {
        let before = self.worlds.clone();
        self.worlds.retain_mut(|world| holds(world));
        assert!(!self.worlds.is_empty(), "{what:#?} is so in none of {before:#?}");
        let mut different: Vec<World> = Vec::new();
        for world in self.worlds.drain(..) {
            if !different.contains(&world) {
                different.push(world);
            }
        }
        self.worlds = different;
    }

    fn router(&self, number: usize) -> Arc<dyn Store> {
        if number.is_multiple_of(2) { self.stores.one.clone() } else { self.stores.two.clone() }
    }

    /// Does one step, by a router that changes from step to step.
    pub(super) async fn take(&mut self, number: usize, step: &Step) {
        let (router, other) = (self.router(number), self.router(number + 1));
        match step {
            Step::Post { by, place, what, lost } => {
                let asked = self.asked(*by, *place, what, number);
                self.post([&*router, &*other], (*by, *place), asked, *lost, number).await;
            }
            Step::Both { place, one, other: two } => {
                let one = (one.0, self.asked(one.0, *place, &one.1, number));
                let two = (two.0, self.asked(two.0, *place, &two.1, number + 1_000));
                self.both([&*router, &*other], *place, one, two).await;
            }
            Step::Mark { user, place, kind, seq } => {
                let mark = Mark {
                    conversation: self.conversation(*place),
                    user: self.users[*user].clone(),
                    kind: *kind,
                    seq: Seq(*seq),
                };
                let answer = router.mark(vec![mark]).await.unwrap().remove(0);
                self.only(&(step, answer), |world| world.mark(*user, *place, *kind, *seq) == answer);
            }
            Step::Read { user, limit, acknowledge } => {
                let read = self.read(&*router, *user, *limit).await;
                self.only(&(step, &read.words), |world| {
                    let inbox = &world.inboxes[*user];
                    read.words[..] == inbox[..inbox.len().min(*limit)]
                });
                if let (true, Some(cursor)) = (acknowledge, read.end) {
                    self.acknowledge(&*other, *user, cursor, read.words.len()).await;
                }
            }
            Step::History { user, place, range, limit } => {
                let (user, place) = (*user, *place);
                let shown = self.history(&*router, user, place, *range, *limit).await;
                self.only(&(step, &shown), |world| {
                    // Whether there is a conversation of two without messages is nobody's matter.
                    let expected = world.history(user, place).unwrap_or_default();
                    part(expected, *range, *limit) == shown.clone().unwrap_or_default()
                });
            }
            Step::Attach { user, device } => self.attach(&*router, *user, *device).await,
            Step::Detach { user, number } => {
                let Some((session, _)) = self.worlds[0].sessions[*user].get(*number).cloned() else { return };
                let detach =
                    Detach { user: self.users[*user].clone(), session: SessionId::parse(&session).unwrap() };
                // Nobody watches.
                assert_eq!(router.detach(vec![detach]).await.unwrap(), [false]);
                for world in &mut self.worlds {
                    world.sessions[*user].retain(|(of, _)| *of != session);
                }
            }
            Step::Publish { by, key } => {
                let text = format!("p{number}");
                let post = keyed(&self.users[*by], &self.groups[0], &text, "-");
                let publication = Broadcast {
                    channel: self.channel.clone(),
                    by: self.users[*by].clone(),
                    entry: post.entries[0].clone(),
                    repeat_key: key.to_string().into(),
                };
                let answer = router.broadcast(vec![publication]).await.unwrap().remove(0);
                self.only(&(step, answer), |world| {
                    world.publish(*by, *key, &text) == (answer.seq.0, answer.duplicate)
                });
            }
            Step::Restart => self.stores.restart_routers().await,
        }
    }

    async fn post(
        &mut self,
        [router, other]: [&dyn Store; 2],
        (by, place): (User, Place),
        (asked, post): (Request, Post),
        lost: Lost,
        number: usize,
    ) {
        let done = match lost {
            Lost::No => Some(router.post(vec![post]).await.unwrap()),
            Lost::Answer => {
                router.post(vec![post]).await.unwrap();
                return self.done(by, place, &asked);
            }
            Lost::Call { polls, .. } => {
                let done = cut(router.post(vec![post]), polls).await;
                // What was on its way when it was dropped has arrived after this.
                router.ping().await.unwrap();
                done
            }
        };
        if let Some(done) = done {
            let answer = answered(&done[0]);
            return self.only(&(by, place, &asked, answer), |world| world.post(by, place, &asked) == answer);
        }
        let mut not_done = self.worlds.clone();
        self.done(by, place, &asked);
        self.worlds.append(&mut not_done);
        let repaired = matches!(lost, Lost::Call { repaired: true, .. });
        // Who was removed is told by a repair alone.
        let removes = matches!(asked, Request::Change { change: Change::Remove(_), .. });
        let writes_again = |world: &World| world.is_member(by, place);
        if repaired || removes || !self.worlds.iter().all(writes_again) {
            other.repair(Duration::ZERO).await.unwrap();
            return;
        }
        let (asked, post) = self.asked(by, place, &What::Message(UNIQUE + number as u32), number);
        let answer = answered(&other.post(vec![post]).await.unwrap()[0]);
        self.only(&(by, place, &asked, answer), |world| world.post(by, place, &asked) == answer);
    }

    /// It is done in all worlds, whatever is answered.
    fn done(&mut self, by: User, place: Place, asked: &Request) {
        for world in &mut self.worlds {
            world.post(by, place, asked);
        }
    }

    /// Two routers write to one conversation at once. Where one of them files what the
    /// other has numbered, the other does not know the position.
    async fn both(
        &mut self,
        [router, other]: [&dyn Store; 2],
        place: Place,
        (by, (one, one_post)): (User, (Request, Post)),
        (other_by, (two, two_post)): (User, (Request, Post)),
    ) {
        let (first, second) = join(router.post(vec![one_post]), other.post(vec![two_post])).await;
        let (first, second) = (answered(&first.unwrap()[0]), answered(&second.unwrap()[0]));
        let mut turned = self.worlds.clone();
        turned.retain_mut(|world| {
            world.post(other_by, place, &two).is_told(second) && world.post(by, place, &one).is_told(first)
        });
        let before = self.worlds.clone();
        self.worlds.retain_mut(|world| {
            world.post(by, place, &one).is_told(first) && world.post(other_by, place, &two).is_told(second)
        });
        self.worlds.append(&mut turned);
        assert!(
            !self.worlds.is_empty(),
            "{by} {one:?} {first:?} and {other_by} {two:?} {second:?} at {place:?}: in none of {before:#?}"
        );
    }

    async fn acknowledge(&mut self, router: &dyn Store, user: User, cursor: Cursor, count: usize) {
        let done = router.acknowledge(vec![Acknowledge::up_to(self.users[user].clone(), cursor)]).await;
        let AcknowledgeResult::Marks(marks) = done.unwrap().remove(0) else {
            panic!("a place that was just read is there");
        };
        let marks: BTreeMap<_, _> = marks.into_iter().map(|(id, seq)| (self.place(&id), seq.0)).collect();
        self.only(&(user, count, &marks), |world| world.acknowledge(user, count) == marks);
    }

    async fn attach(&mut self, router: &dyn Store, user: User, device: u8) {
        let device = format!("device-{device}");
        let location = Location {
            session: SessionId::random(),
            device: DeviceId::parse(&device).unwrap(),
            node: self.node.id.clone(),
        };
        let session = location.session.as_str().to_owned();
        let attach =
            Attach { user: self.users[user].clone(), location: Some(location), from: StartPoint::Head };
        let attached = router.attach(vec![attach]).await.unwrap().remove(0);
        let replaced: Vec<_> = attached.replaced.iter().map(|one| one.session.as_str().to_owned()).collect();
        self.only(&(user, &device, &attached), |world| {
            let alone = world.sessions[user].is_empty();
            attached.head.0 == world.inboxes[user].len() as u64
                && attached.absence.is_some() == alone
                && world.attach(user, &session, &device) == replaced
        });
    }

    /// The same for the model and for the store.
    fn asked(&self, by: User, place: Place, what: &What, number: usize) -> (Request, Post) {
        let (id, user) = (self.conversation(place), &self.users[by]);
        let text = format!("t{number}");
        match *what {
            What::Message(key) => {
                let post = keyed(user, &id, &text, &format!("k{key}"));
                (Request::Message { key, text }, post)
            }
            What::Edit(seq, key, who) => {
                let post = only(who, keyed_edit(user, &id, seq, &text, &format!("k{key}")));
                (Request::Edit { seq, key, text, who }, post)
            }
            What::Recall(seq, who) => (Request::Recall { seq, who }, only(who, recall(user, &id, seq))),
            What::React(seq, emoji, on) => {
                (Request::React { seq, emoji, on }, react(user, &id, seq, emoji, on))
            }
            What::Change(_) | What::Stale if matches!(place, Place::Direct(..)) => {
                // Conversations of two have no such changes.
                let post = keyed_edit(user, &id, 1, &text, "k9");
                (Request::Edit { seq: 1, key: 9, text, who: Amenders::Anyone }, post)
            }
            What::Change(change) => {
                let expect = self.worlds[0].conversations[&place].version;
                (Request::Change { expect, change }, changed(user, &id, self.change(expect, change)))
            }
            What::Stale => {
                let (expect, change) = (10_000, Change::Rename(0));
                (Request::Change { expect, change }, changed(user, &id, self.change(expect, change)))
            }
        }
    }

    fn change(&self, expect: u64, change: Change) -> store::model::Change {
        let expect = store::model::Change { expect: Version(expect), ..Default::default() };
        let user = |user: User| self.users[user].clone();
        match change {
            Change::Rename(number) => store::model::Change { name: Some(format!("name {number}")), ..expect },
            Change::Owner(owner) => store::model::Change { owner: Some(user(owner)), ..expect },
            Change::Add(member) => store::model::Change { add: vec![user(member)], ..expect },
            Change::Remove(member) => store::model::Change { remove: vec![user(member)], ..expect },
        }
    }
}

fn answered(posted: &PostResult) -> Answer {
    match posted {
        PostResult::Done { seq, duplicate, position, .. } => {
            let position = position.map(|position| position.cursor.position.0);
            Answer::Done { seq: seq.0, duplicate: *duplicate, position }
        }
        PostResult::NotMember => Answer::NotMember,
        PostResult::Stale => Answer::Stale,
        PostResult::NoSuchMessage => Answer::NoSuchMessage,
        PostResult::NotAllowed => Answer::NotAllowed,
        PostResult::Recalled => Answer::Recalled,
        PostResult::Unchanged => Answer::Unchanged,
        PostResult::TooManyReactions => panic!("there are not so many"),
    }
}
