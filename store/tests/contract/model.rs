//! Random operations, compared with a simple model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proto::{ConversationId, Seq, UserId};
use store::model::{Change, Post, PostResult, Version};
use tokio::runtime::Handle;

use super::harness::{Kind, Stores, assert_no_holes, changed, for_every_store, keyed};

for_every_store![random_operations_agree_with_a_plain_model];

const USERS: usize = 4;
const GROUPS: usize = 2;

/// One operation; users and groups by index.
#[derive(Debug, Clone)]
enum Step {
    Direct { by: usize, to: usize, key: u8 },
    Group { by: usize, group: usize, key: u8 },
    Add { by: usize, group: usize, user: usize },
    Remove { by: usize, group: usize, user: usize },
    Stale { by: usize, group: usize },
}

/// A conversation as the model knows it.
#[derive(Debug, Default)]
struct Known {
    head: u64,
    version: u64,
    /// Members, with the seq after which they see messages.
    members: Vec<(usize, u64)>,
    /// (user, key) to seq.
    keys: BTreeMap<(usize, u8), u64>,
}

/// The model: everything in plain collections.
#[derive(Debug, Default)]
struct Model {
    conversations: BTreeMap<ConversationId, Known>,
    inboxes: [Vec<(ConversationId, u64)>; USERS],
}

/// The result of an operation.
#[derive(Debug, PartialEq)]
enum Answer {
    Done { seq: u64, duplicate: bool },
    NotMember,
    Stale,
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let user = 0..USERS;
    let group = 0..GROUPS;
    let step = prop_oneof![
        4 => (user.clone(), user.clone(), 0..12_u8).prop_map(|(by, to, key)| Step::Direct { by, to, key }),
        4 => (user.clone(), group.clone(), 0..12_u8).prop_map(|(by, group, key)| Step::Group { by, group, key }),
        2 => (user.clone(), group.clone(), user.clone())
            .prop_map(|(by, group, user)| Step::Add { by, group, user }),
        1 => (user.clone(), group.clone(), user.clone())
            .prop_map(|(by, group, user)| Step::Remove { by, group, user }),
        1 => (user, group).prop_map(|(by, group)| Step::Stale { by, group }),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..6), 1..20)
}

async fn random_operations_agree_with_a_plain_model(kind: Kind) {
    let runtime = Handle::current();
    let run = move || {
        // A failure prints the smallest steps that show it.
        let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(&steps(), |batches| {
            runtime.block_on(Box::pin(agrees(kind, batches)));
            Ok(())
        })
    };
    if let Err(failure) = tokio::task::spawn_blocking(run).await.unwrap() {
        panic!("{failure}");
    }
}

async fn agrees(kind: Kind, batches: Vec<Vec<Step>>) {
    let stores = kind.open().await;
    let users: Vec<UserId> = (0..USERS).map(|number| stores.user(&format!("u{number}"))).collect();
    let mut groups = Vec::new();
    let mut model = Model::default();
    for number in 0..GROUPS {
        let owner = number % USERS;
        let group = stores.group(&[&users[owner]]).await;
        model.inboxes[owner].push((group.clone(), 0));
        let known = Known { version: 1, members: vec![(owner, 0)], ..Default::default() };
        model.conversations.insert(group.clone(), known);
        groups.push(group);
    }
    for (number, batch) in batches.into_iter().enumerate() {
        let (mut posts, mut expected) = (Vec::new(), Vec::new());
        for step in &batch {
            let (post, answer) = model.step(step, &users, &groups);
            posts.push(post);
            expected.push(answer);
        }
        let store = if number % 2 == 0 { &stores.one } else { &stores.two };
        let answers: Vec<Answer> = store.post(posts).await.unwrap().into_iter().map(Answer::of).collect();
        assert_eq!(answers, expected, "{batch:?}");
    }
    model.compare(&stores, &users).await;
}

impl Answer {
    fn of(posted: PostResult) -> Self {
        match posted {
            PostResult::Done { seq, duplicate, .. } => Self::Done { seq: seq.0, duplicate },
            PostResult::NotMember => Self::NotMember,
            PostResult::Stale => Self::Stale,
            other => panic!("not an answer to what the model does: {other:?}"),
        }
    }
}

impl Model {
    fn step(&mut self, step: &Step, users: &[UserId], groups: &[ConversationId]) -> (Post, Answer) {
        match *step {
            Step::Direct { by, to, key } => {
                let id = ConversationId::direct(&users[by], &users[to]);
                let members = if by == to { vec![(by, 0)] } else { vec![(by.min(to), 0), (by.max(to), 0)] };
                let new = || Known { members, ..Default::default() };
                self.conversations.entry(id.clone()).or_insert_with(new);
                self.message(by, &id, key, users)
            }
            Step::Group { by, group, key } => self.message(by, &groups[group], key, users),
            Step::Add { by, group, user } => {
                let change = Change { add: vec![users[user].clone()], ..Default::default() };
                self.change(by, &groups[group], change, users, (Some(user), None))
            }
            Step::Remove { by, group, user } => {
                let change = Change { remove: vec![users[user].clone()], ..Default::default() };
                self.change(by, &groups[group], change, users, (None, Some(user)))
            }
            Step::Stale { by, group } => {
                let member = self.conversations[&groups[group]].members.iter().any(|(user, _)| *user == by);
                let change = Change { expect: Version(10_000), ..Default::default() };
                let answer = if member { Answer::Stale } else { Answer::NotMember };
                (changed(&users[by], &groups[group], change), answer)
            }
        }
    }

    fn message(&mut self, by: usize, id: &ConversationId, key: u8, users: &[UserId]) -> (Post, Answer) {
        let post = keyed(&users[by], id, "hi", &format!("k-{key}"));
        let known = self.conversations.get_mut(id).unwrap();
        if known.members.iter().all(|(user, _)| *user != by) {
            return (post, Answer::NotMember);
        }
        if let Some(seq) = known.keys.get(&(by, key)) {
            return (post, Answer::Done { seq: *seq, duplicate: true });
        }
        known.head += 1;
        known.keys.insert((by, key), known.head);
        for (user, _) in &known.members {
            self.inboxes[*user].push((id.clone(), known.head));
        }
        (post, Answer::Done { seq: known.head, duplicate: false })
    }

    fn change(
        &mut self,
        by: usize,
        id: &ConversationId,
        change: Change,
        users: &[UserId],
        (add, remove): (Option<usize>, Option<usize>),
    ) -> (Post, Answer) {
        let known = self.conversations.get_mut(id).unwrap();
        let post = changed(&users[by], id, Change { expect: Version(known.version), ..change });
        if known.members.iter().all(|(user, _)| *user != by) {
            return (post, Answer::NotMember);
        }
        known.version += 1;
        if let Some(add) = add
            && known.members.iter().all(|(user, _)| *user != add)
        {
            known.members.push((add, known.head));
        }
        for (user, _) in &known.members {
            self.inboxes[*user].push((id.clone(), 0));
        }
        known.members.retain(|(user, _)| Some(*user) != remove);
        (post, Answer::Done { seq: known.head, duplicate: false })
    }

    /// Compares everything that can be read.
    async fn compare(&self, stores: &Stores, users: &[UserId]) {
        for (number, user) in users.iter().enumerate() {
            let inbox = stores.inbox(user).await;
            assert_no_holes(&inbox);
            let found: Vec<_> =
                inbox.into_iter().map(|filed| (filed.event.conversation, filed.event.seq.0)).collect();
            assert_eq!(found, self.inboxes[number], "the inbox of {user}");
            let mut memberships: Vec<_> = stores.one.memberships(user).await.unwrap();
            memberships.sort_by(|one, other| one.conversation.cmp(&other.conversation));
            let found: Vec<_> = memberships
                .into_iter()
                .map(|membership| (membership.conversation, membership.activity.0))
                .collect();
            assert_eq!(found, self.memberships(number), "the memberships of {user}");
        }
        for (id, known) in &self.conversations {
            let state = stores.one.conversations(std::slice::from_ref(id), None).await.unwrap().remove(0);
            let found = state.map(|state| {
                let members = state.members.into_iter().map(|member| (member.user, member.since)).collect();
                (state.head, members)
            });
            let members: Vec<_> =
                known.members.iter().map(|(user, since)| (users[*user].clone(), Seq(*since))).collect();
            let expected = (!members.is_empty()).then_some((Seq(known.head), members));
            assert_eq!(found, expected, "{id}");
        }
    }

    /// The conversations of a user, each with the position of its newest event.
    fn memberships(&self, user: usize) -> Vec<(ConversationId, u64)> {
        let of_user = self
            .conversations
            .iter()
            .filter(|(_, known)| known.members.iter().any(|(member, _)| *member == user));
        let newest = |id: &ConversationId| self.inboxes[user].iter().rposition(|(other, _)| other == id);
        of_user.map(|(id, _)| (id.clone(), newest(id).map_or(0, |index| index as u64 + 1))).collect()
    }
}
