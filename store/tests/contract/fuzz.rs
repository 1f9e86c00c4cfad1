//! Several routers post to the same conversations. Answers get lost, posts are
//! given up in the middle and repeated at any router, routers are started anew,
//! and a whole store goes back to an older copy of itself. In the end every
//! message is in its log once, and in every inbox in the order of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proto::wire::entry::What;
use proto::{ConversationId, Seq, UserId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::Store;
use store::model::{HistoryQuery, HistoryRange, InboxQuery, Post, PostResult};

use super::harness::{Kind, for_every_store, keyed};

for_every_store![each_message_of_several_routers_is_filed_once_and_in_order];

/// Steps of one run.
const STEPS: usize = 120;
/// How long the end may take: a store that came back is found again.
const PATIENCE: Duration = Duration::from_secs(60);

async fn each_message_of_several_routers_is_filed_once_and_in_order(kind: Kind) {
    let stores = kind.open().await;
    let users = ["alice", "bob", "carol"].map(|name| stores.user(name));
    let group = stores.group(&[&users[0], &users[1], &users[2]]).await;
    let mut fuzz = Fuzz::new(rand::random(), users.to_vec(), group);
    let routers = [stores.one.clone(), stores.two.clone()];
    for _ in 0..STEPS {
        fuzz.step(&routers).await;
    }
    fuzz.end(&routers).await;
}

/// A message by its conversation, sender, and repeat key.
type Name = (ConversationId, UserId, String);

/// What was sent and answered so far.
pub(super) struct Fuzz {
    seed: u64,
    random: StdRng,
    users: Vec<UserId>,
    conversations: Vec<ConversationId>,
    /// Everything ever sent, whether or not it was answered.
    sent: Vec<Post>,
    pub(super) answered: BTreeMap<Name, Seq>,
}

impl Fuzz {
    /// Of these users, who are the members of the group.
    pub(super) fn new(seed: u64, users: Vec<UserId>, group: ConversationId) -> Self {
        let mut conversations = vec![group, ConversationId::direct(&users[0], &users[0])];
        for (index, one) in users.iter().enumerate() {
            conversations.extend(users[..index].iter().map(|other| ConversationId::direct(one, other)));
        }
        let random = StdRng::seed_from_u64(seed);
        Self { seed, random, users, conversations, sent: Vec::new(), answered: BTreeMap::new() }
    }

    /// One or two routers get a batch each, at once.
    pub(super) async fn step(&mut self, routers: &[Arc<dyn Store>]) {
        let calls: Vec<_> = (0..self.random.random_range(1..=2)).map(|_| self.call(routers.len())).collect();
        let asked = calls.iter().map(async |(router, batch, polls)| {
            let call = routers[*router].post(batch.clone());
            match polls {
                Some(polls) => cut(call, *polls).await,
                None => call.await.ok(),
            }
        });
        let answers = futures_util::future::join_all(asked).await;
        for ((_, batch, _), answers) in calls.iter().zip(answers) {
            // Some answers are lost on their way.
            if let Some(answers) = answers.filter(|_| self.random.random_bool(0.7)) {
                self.note(batch, answers);
            }
        }
    }

    /// A router, a batch for it, and after how many polls it is given up.
    fn call(&mut self, routers: usize) -> (usize, Vec<Post>, Option<usize>) {
        let count = self.random.random_range(1..=6);
        let batch = (0..count).map(|_| self.post()).collect();
        let polls = self.random.random_bool(0.3).then(|| self.random.random_range(1..=8));
        (self.random.random_range(0..routers), batch, polls)
    }

    /// A new message, or one that was sent before.
    fn post(&mut self) -> Post {
        if !self.sent.is_empty() && self.random.random_bool(0.4) {
            // Mostly a young one.
            let back = self.random.random_range(1..=self.sent.len().min(20));
            return self.sent[self.sent.len() - back].clone();
        }
        let conversation = self.conversations[self.random.random_range(0..self.conversations.len())].clone();
        let by = loop {
            let by = &self.users[self.random.random_range(0..self.users.len())];
            if conversation.pair().is_none_or(|(one, other)| *by == one || *by == other) {
                break by.clone();
            }
        };
        let key = format!("k{}", self.sent.len());
        let post = keyed(&by, &conversation, &key, &key);
        self.sent.push(post.clone());
        post
    }

    fn note(&mut self, batch: &[Post], answers: Vec<PostResult>) {
        assert_eq!(answers.len(), batch.len());
        for (post, answer) in batch.iter().zip(answers) {
            let PostResult::Done { seq, .. } = answer else { panic!("{answer:?}, seed {}", self.seed) };
            let before = *self.answered.entry(name(post)).or_insert(seq);
            assert_eq!(before, seq, "{:?} was answered with two numbers, seed {}", name(post), self.seed);
        }
    }

    /// Repeats everything until it is answered, and checks what is there.
    pub(super) async fn end(&mut self, routers: &[Arc<dyn Store>]) {
        let sent = self.sent.clone();
        for batch in sent.chunks(20) {
            let answers = testbed::wait::until(PATIENCE, "an answer", async || {
                routers[0].post(batch.to_vec()).await.ok()
            });
            let answers = answers.await.unwrap();
            self.note(batch, answers);
        }
        for router in routers {
            router.repair(Duration::ZERO).await.unwrap();
        }
        for conversation in &self.conversations {
            self.check(&*routers[0], conversation).await;
        }
    }

    async fn check(&self, store: &dyn Store, conversation: &ConversationId) {
        let what = format!("{conversation}, seed {}", self.seed);
        let members: Vec<_> = match conversation.pair() {
            Some((one, other)) => BTreeSet::from([one, other]).into_iter().collect(),
            None => self.users.clone(),
        };
        let log = log(store, conversation, &members[0]).await;
        let seqs: Vec<_> = log.iter().map(|(seq, ..)| seq.0).collect();
        assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>(), "{what}");
        let there: BTreeMap<Name, Seq> = log
            .iter()
            .map(|(seq, by, key)| ((conversation.clone(), by.clone(), key.clone()), *seq))
            .collect();
        assert_eq!(there.len(), log.len(), "a message is there twice: {what}");
        let answered = self.answered.iter().filter(|((of, ..), _)| of == conversation);
        assert_eq!(there, answered.map(|(name, seq)| (name.clone(), *seq)).collect(), "{what}");
        for member in &members {
            assert_eq!(filed(store, conversation, member).await, log, "the inbox of {member}: {what}");
            let (mut memberships, newest) =
                (store.memberships(member).await.unwrap(), newest(store, conversation, member).await);
            memberships.retain(|membership| membership.conversation == *conversation);
            let activity = memberships.first().map(|membership| membership.activity);
            assert_eq!(activity, newest, "the activity of {member}: {what}");
        }
    }
}

/// Polls a call so often, then drops it. Its result, if there is one by then.
pub(super) async fn cut<T, E>(
    mut call: Pin<Box<dyn Future<Output = Result<T, E>> + Send + '_>>,
    mut polls: usize,
) -> Option<T> {
    std::future::poll_fn(|task| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        call.as_mut().poll(task).map(Result::ok)
    })
    .await
}

fn name(post: &Post) -> Name {
    let (_, by, key) = line(&super::harness::decoded(post), Seq(0));
    (post.conversation.clone(), by, key)
}

/// What the test compares of a message.
fn line(entry: &proto::wire::Entry, seq: Seq) -> (Seq, UserId, String) {
    let Some(What::Message(message)) = &entry.what else { panic!("no message: {entry:?}") };
    (seq, UserId::parse(&entry.by).unwrap(), message.client_msg_id.clone())
}

async fn log(store: &dyn Store, conversation: &ConversationId, user: &UserId) -> Vec<(Seq, UserId, String)> {
    let (mut lines, mut after) = (Vec::new(), Seq(0));
    loop {
        let (conversation, user) = (conversation.clone(), user.clone());
        let query = HistoryQuery { conversation, user, range: HistoryRange::After(after), limit: 100 };
        let Some(page) = store.history(query).await.unwrap() else { return lines };
        lines.extend(page.messages.iter().map(|shown| line(&shown.message.entry, shown.message.seq)));
        let Some((last, ..)) = lines.last().filter(|_| page.more) else { return lines };
        after = *last;
    }
}

/// The messages of a conversation in an inbox, in their order.
async fn filed(
    store: &dyn Store,
    conversation: &ConversationId,
    user: &UserId,
) -> Vec<(Seq, UserId, String)> {
    let (mut lines, mut after) = (Vec::new(), proto::Cursor::ORIGIN);
    loop {
        let query = InboxQuery { user: user.clone(), after, limit: 100, session: None, marks: None };
        let page = store.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!(page.reset, None);
        let Some(last) = page.events.last() else { return lines };
        let fingerprint = proto::Fingerprint(last.event.entry.fingerprint);
        after = proto::Cursor { position: last.position, fingerprint };
        let of_it = page.events.iter().map(|filed| &filed.event).filter(|event| event.seq > Seq(0));
        let of_it = of_it.filter(|event| event.conversation == *conversation);
        lines.extend(of_it.map(|event| line(&event.entry, event.seq)));
    }
}

/// The position of a conversation's newest event in an inbox.
async fn newest(store: &dyn Store, conversation: &ConversationId, user: &UserId) -> Option<proto::Position> {
    let (mut newest, mut after) = (None, proto::Cursor::ORIGIN);
    loop {
        let query = InboxQuery { user: user.clone(), after, limit: 100, session: None, marks: None };
        let page = store.read_inbox(vec![query]).await.unwrap().remove(0);
        let Some(last) = page.events.last() else { return newest };
        let fingerprint = proto::Fingerprint(last.event.entry.fingerprint);
        after = proto::Cursor { position: last.position, fingerprint };
        let of_it = page.events.iter().filter(|filed| filed.event.conversation == *conversation);
        newest = of_it.map(|filed| filed.position).next_back().or(newest);
    }
}
