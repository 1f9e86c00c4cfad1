//! Unread counts and inboxes after any mix of operations, compared with a
//! simple model that counts.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proto::{ConversationId, Seq, UserId};
use store::model::{Amenders, Change, Mark, MarkKind, MarkResult, PostResult};
use tokio::runtime::Handle;

use super::harness::{
    Kind, Stores, assert_no_holes, edit, for_every_store, message, only, react, recall, words,
};

for_every_store![unread_counts_and_inboxes_agree_with_a_plain_model];

const USERS: usize = 3;
/// A direct conversation of the first two, and a group.
const CONVERSATIONS: usize = 2;
const GROUP: usize = 1;
/// The owner of the group.
const OWNER: usize = 0;
const EMOJI: [&str; 2] = ["👍", "🎉"];

/// What a user does, in one of the conversations.
#[derive(Debug, Clone)]
struct Step {
    by: usize,
    conversation: usize,
    act: Act,
}

/// A message is named by its distance to the head, so that most exist.
#[derive(Debug, Clone)]
enum Act {
    Send,
    Read { behind: u64 },
    Recall { behind: u64, who: Amenders },
    Edit { behind: u64, who: Amenders },
    React { behind: u64, emoji: usize, on: bool },
    Add { user: usize },
    Remove { user: usize },
}

#[derive(Debug, Clone)]
struct Known {
    group: bool,
    /// Who wrote each message, and whether it is recalled.
    messages: Vec<(usize, bool)>,
    members: Vec<Member>,
    reactions: BTreeSet<(u64, usize, usize)>,
    /// For each user the events of this conversation, as words.
    inboxes: [Vec<String>; USERS],
}

#[derive(Debug, Clone)]
struct Member {
    user: usize,
    since: u64,
    read: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || prop_oneof![Just(Amenders::Anyone), Just(Amenders::Sender), Just(Amenders::SenderOrAdmin)];
    let act = prop_oneof![
        6 => Just(Act::Send),
        3 => (0..6_u64).prop_map(|behind| Act::Read { behind }),
        3 => (0..8_u64, who()).prop_map(|(behind, who)| Act::Recall { behind, who }),
        1 => (0..8_u64, who()).prop_map(|(behind, who)| Act::Edit { behind, who }),
        1 => (0..8_u64, 0..EMOJI.len(), any::<bool>())
            .prop_map(|(behind, emoji, on)| Act::React { behind, emoji, on }),
        1 => (0..USERS).prop_map(|user| Act::Add { user }),
        1 => (0..USERS).prop_map(|user| Act::Remove { user }),
    ];
    let step = (0..USERS, 0..CONVERSATIONS, act);
    let step = step.prop_map(|(by, conversation, act)| Step { by, conversation, act });
    prop::collection::vec(step, 1..40)
}

async fn unread_counts_and_inboxes_agree_with_a_plain_model(kind: Kind) {
    let runtime = Handle::current();
    let run = move || {
        // A failure prints the smallest steps that show it.
        let config = Config { cases: 20, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(&steps(), |steps| {
            runtime.block_on(Box::pin(agrees(kind, steps)));
            Ok(())
        })
    };
    if let Err(failure) = tokio::task::spawn_blocking(run).await.unwrap() {
        panic!("{failure}");
    }
}

async fn agrees(kind: Kind, steps: Vec<Step>) {
    let stores = kind.open().await;
    let users: Vec<UserId> = (0..USERS).map(|number| stores.user(&format!("u{number}"))).collect();
    let ids = [ConversationId::direct(&users[0], &users[1]), stores.group(&[&users[0], &users[1]]).await];
    let member = |user| Member { user, since: 0, read: 0 };
    let known = Known {
        group: false,
        messages: Vec::new(),
        members: vec![member(0), member(1)],
        reactions: BTreeSet::new(),
        inboxes: Default::default(),
    };
    let mut model = [known.clone(), Known { group: true, ..known }];
    model[GROUP].file(0, "change");
    for (number, step) in steps.iter().enumerate() {
        let known = &mut model[step.conversation];
        known.step(step, &stores, &users, &ids[step.conversation]).await;
        if number % 8 == 7 {
            compare(&model, &stores, &users, &ids).await;
        }
    }
    compare(&model, &stores, &users, &ids).await;
    for (user, id) in users.iter().enumerate() {
        let inbox = stores.inbox_in_pages(id, 7).await;
        assert_no_holes(&inbox);
        for (known, conversation) in model.iter().zip(&ids) {
            assert_eq!(words(&inbox, conversation), known.inboxes[user], "of {user}");
        }
    }
}

async fn compare(model: &[Known], stores: &Stores, users: &[UserId], ids: &[ConversationId]) {
    for (user, id) in users.iter().enumerate() {
        let states = stores.two.conversations(ids, Some(id)).await.unwrap();
        for (known, state) in model.iter().zip(states) {
            let found = state.and_then(|state| {
                let own = state.members.iter().find(|member| member.user == *id)?;
                Some((state.unread, own.read))
            });
            assert_eq!(found, known.counted(user), "of {user}: {known:?}");
        }
    }
}

impl Known {
    fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    fn member(&mut self, user: usize) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.user == user)
    }

    /// The unread count and the read mark of a member.
    fn counted(&self, user: usize) -> Option<(u64, Seq)> {
        let member = self.members.iter().find(|member| member.user == user)?;
        if self.messages.is_empty() && !self.group {
            return None;
        }
        let is_unread = |(index, (by, recalled)): (usize, &(usize, bool))| {
            index as u64 + 1 > member.read && *by != user && !recalled
        };
        let unread = self.messages.iter().enumerate().filter(|message| is_unread(*message)).count();
        Some((unread as u64, Seq(member.read)))
    }

    async fn step(&mut self, step: &Step, stores: &Stores, users: &[UserId], id: &ConversationId) {
        let (by, head) = (step.by, self.head());
        let user = &users[by];
        match step.act {
            Act::Send => {
                let answer = stores.post(message(user, id, "hi")).await;
                let Some(member) = self.member(by) else { return assert_eq!(answer, PostResult::NotMember) };
                member.read = head + 1;
                self.messages.push((by, false));
                self.file(0, &format!("{}:hi", head + 1));
                assert!(matches!(answer, PostResult::Done { seq, .. } if seq.0 == head + 1), "{answer:?}");
            }
            Act::Read { behind } => {
                let seq = head.saturating_sub(behind) + 1;
                let mark = Mark {
                    conversation: id.clone(),
                    user: user.clone(),
                    kind: MarkKind::Read,
                    seq: Seq(seq),
                };
                let answer = stores.one.mark(vec![mark]).await.unwrap().remove(0);
                assert_eq!(answer, self.read(by, seq), "{step:?}");
            }
            Act::Recall { behind, who } => {
                let Some(seq) = head.checked_sub(behind) else { return };
                let answer = stores.post(only(who, recall(user, id, seq))).await;
                let expected = self.amendable(by, seq, who).unwrap_or_else(|refusal| match refusal {
                    PostResult::Recalled => PostResult::Unchanged,
                    other => other,
                });
                agree(answer, expected);
                if self.amendable(by, seq, who).is_ok() {
                    self.messages[seq as usize - 1].1 = true;
                    self.file(seq, &format!("recall {seq}"));
                }
            }
            Act::Edit { behind, who } => {
                let Some(seq) = head.checked_sub(behind) else { return };
                let expected = self.amendable(by, seq, who).unwrap_or_else(|refusal| refusal);
                if self.amendable(by, seq, who).is_ok() {
                    self.file(seq, &format!("edit {seq}:ho"));
                }
                agree(stores.post(only(who, edit(user, id, seq, "ho"))).await, expected);
            }
            Act::React { behind, emoji, on } => {
                let Some(seq) = head.checked_sub(behind) else { return };
                let answer = stores.post(react(user, id, seq, EMOJI[emoji], on)).await;
                let expected = match self.amendable(by, seq, Amenders::Anyone) {
                    Err(refusal) => refusal,
                    Ok(done) => {
                        let reaction = (seq, by, emoji);
                        let new = if on {
                            self.reactions.insert(reaction)
                        } else {
                            self.reactions.remove(&reaction)
                        };
                        if new {
                            self.file(seq, &format!("{}{}{seq}", EMOJI[emoji], if on { '+' } else { '-' }));
                        }
                        if new { done } else { PostResult::Unchanged }
                    }
                };
                agree(answer, expected);
            }
            Act::Add { user: other } if step.conversation == GROUP => {
                if self.member(by).is_none() {
                    return;
                }
                let add = Change { add: vec![users[other].clone()], ..Change::default() };
                stores.change(user, id, add).await;
                if self.member(other).is_none() {
                    self.members.push(Member { user: other, since: head, read: head });
                }
                self.file(0, "change");
            }
            // Somebody stays, so that the group goes on.
            Act::Remove { user: other } if step.conversation == GROUP && self.members.len() > 1 => {
                if self.member(by).is_none() {
                    return;
                }
                let remove = Change { remove: vec![users[other].clone()], ..Change::default() };
                stores.change(user, id, remove).await;
                self.file(0, "change");
                self.members.retain(|member| member.user != other);
            }
            Act::Add { .. } | Act::Remove { .. } => {}
        }
    }

    /// Files for all members, or with a seq for those who see that message.
    fn file(&mut self, seq: u64, word: &str) {
        for member in self.members.iter().filter(|member| seq == 0 || member.since < seq) {
            self.inboxes[member.user].push(word.into());
        }
    }

    fn read(&mut self, user: usize, seq: u64) -> MarkResult {
        let (head, group) = (self.head(), self.group);
        match self.member(user) {
            None => MarkResult::NotMember,
            Some(_) if head == 0 && !group => MarkResult::NotMember,
            Some(_) if seq > head => MarkResult::BeyondHead,
            Some(member) if seq <= member.read => MarkResult::Unchanged,
            Some(member) => {
                member.read = seq;
                MarkResult::Advanced
            }
        }
    }

    /// The result of an amendment that changes something, or why it is refused.
    fn amendable(&self, by: usize, seq: u64, who: Amenders) -> Result<PostResult, PostResult> {
        let Some(member) = self.members.iter().find(|member| member.user == by) else {
            return Err(PostResult::NotMember);
        };
        if seq == 0 || seq <= member.since {
            return Err(PostResult::NoSuchMessage);
        }
        let (sender, recalled) = self.messages[seq as usize - 1];
        let is_owner = self.group && by == OWNER;
        if who != Amenders::Anyone && by != sender && !(who == Amenders::SenderOrAdmin && is_owner) {
            return Err(PostResult::NotAllowed);
        }
        match recalled {
            true => Err(PostResult::Recalled),
            false => {
                Ok(PostResult::Done { seq: Seq(seq), time: proto::Time(0), duplicate: false, position: None })
            }
        }
    }
}

/// Compares results without their time and position.
fn agree(found: PostResult, expected: PostResult) {
    match (&found, &expected) {
        (PostResult::Done { seq, duplicate: false, .. }, PostResult::Done { seq: wanted, .. }) => {
            assert_eq!(seq, wanted);
        }
        _ => assert_eq!(found, expected),
    }
}
