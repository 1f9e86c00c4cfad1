//! Groups: a change happens completely or not at all, and who sees what.

use proto::{ConversationId, Role, Seq, UserId};
use store::model::{Amenders, Change, HistoryQuery, HistoryRange, PostResult, Roles, Version};
use tokio::task::JoinSet;

use super::harness::{
    Done, Kind, change_entry, changed, edit, for_every_store, keyed, message, only, react, recall, texts,
};

for_every_store![
    a_new_group_has_its_name_owner_and_members,
    members_can_be_read_without_anything_else,
    a_change_is_filed_without_a_seq_between_the_messages,
    a_stale_change_changes_nothing,
    a_group_is_made_once,
    of_concurrent_changes_one_wins,
    of_concurrent_joins_leaves_and_sends_each_message_is_for_its_members,
    only_members_change_a_group,
    a_change_of_two_entries_files_both_in_order,
    a_joiner_sees_what_comes_after_joining,
    the_removed_member_gets_the_removal_as_the_last,
    who_leaves_is_answered_where_the_leaving_is,
    adding_a_member_again_changes_nothing_for_it,
    who_comes_back_starts_at_the_coming_back,
    a_group_without_members_is_gone,
    a_change_says_the_head_at_its_time,
    roles_change_with_the_group_and_are_read_with_it,
    a_reader_writes_nothing_and_what_it_wrote_before_is_known,
    readers_take_back_their_own_and_admins_everybodys,
];

fn add(users: &[&UserId]) -> Change {
    Change { add: users.iter().copied().cloned().collect(), ..Default::default() }
}

fn remove(users: &[&UserId]) -> Change {
    Change { remove: users.iter().copied().cloned().collect(), ..Default::default() }
}

async fn a_new_group_has_its_name_owner_and_members(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    let state = stores.two.conversations(&[group], None).await.unwrap().remove(0).unwrap();
    assert_eq!(state.head, Seq(0));
    assert_eq!(state.last_message, None);
    let about = state.group.unwrap();
    assert_eq!((about.name.as_str(), &about.owner, about.version), ("name", &alice, Version(1)));
    let members: Vec<_> = state.members.iter().map(|member| (&member.user, member.since)).collect();
    assert_eq!(members, [(&alice, Seq(0)), (&bob, Seq(0))]);
}

fn roles(roles: &[(&UserId, Role)]) -> Change {
    let mut kept = Roles::default();
    roles.iter().for_each(|(user, role)| kept.set(user, *role));
    Change { roles: Some(kept), ..Change::default() }
}

async fn roles_change_with_the_group_and_are_read_with_it(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob, &carol]).await;
    let read = async |reader: Option<&UserId>| {
        let states = stores.two.conversations(std::slice::from_ref(&group), reader).await.unwrap();
        let group = states.into_iter().next().flatten().unwrap().group.unwrap();
        [&alice, &bob, &carol].map(|user| group.role(user))
    };
    assert_eq!(read(None).await, [Role::Owner, Role::Member, Role::Member]);
    stores.change(&alice, &group, roles(&[(&bob, Role::Admin), (&carol, Role::Reader)])).await;
    assert_eq!(read(None).await, [Role::Owner, Role::Admin, Role::Reader]);
    assert_eq!(read(Some(&carol)).await[2], Role::Reader);
    assert_eq!(read(Some(&bob)).await[1], Role::Admin);
    // What does not speak of roles leaves them.
    stores.change(&bob, &group, Change { name: Some("tea".into()), ..Change::default() }).await;
    assert_eq!(read(None).await, [Role::Owner, Role::Admin, Role::Reader]);
    stores.change(&alice, &group, roles(&[])).await;
    assert_eq!(read(None).await, [Role::Owner, Role::Member, Role::Member]);
}

async fn a_reader_writes_nothing_and_what_it_wrote_before_is_known(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    // Its name ends as that of another one.
    let rebob = stores.user("rebob");
    let group = stores.group(&[&alice, &bob, &rebob]).await;
    let before = keyed(&bob, &group, "before", "key");
    stores.done(before.clone()).await;
    stores.change(&alice, &group, roles(&[(&bob, Role::Reader)])).await;
    assert_eq!(stores.post(message(&bob, &group, "after")).await, PostResult::NotAllowed);
    let again = stores.post(before).await;
    assert!(matches!(again, PostResult::Done { duplicate: true, seq: Seq(1), .. }), "{again:?}");
    // The refusal did not stop what was behind it, and others write on.
    let posts =
        vec![message(&rebob, &group, "two"), message(&bob, &group, "?"), message(&alice, &group, "three")];
    let results = stores.one.post(posts).await.unwrap();
    let seqs: Vec<_> = results
        .into_iter()
        .map(|result| match result {
            PostResult::Done { seq, .. } => Some(seq.0),
            result => {
                assert_eq!(result, PostResult::NotAllowed);
                None
            }
        })
        .collect();
    assert_eq!(seqs, [Some(2), None, Some(3)]);
    let read: Vec<_> = texts(&stores.inbox(&bob).await, &group).into_iter().map(|(_, text)| text).collect();
    assert_eq!(read, ["before", "two", "three"]);
    stores.change(&alice, &group, roles(&[])).await;
    assert_eq!(stores.done(message(&bob, &group, "four")).await.seq, Seq(4));
}

async fn readers_take_back_their_own_and_admins_everybodys(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob, &carol]).await;
    for by in [&carol, &carol, &bob, &alice] {
        stores.done(message(by, &group, "hi")).await;
    }
    stores.change(&alice, &group, roles(&[(&bob, Role::Admin), (&carol, Role::Reader)])).await;
    let or_admin = |post| only(Amenders::SenderOrAdmin, post);
    for post in [
        only(Amenders::Sender, edit(&carol, &group, 1, "?")),
        react(&carol, &group, 3, "👍", true),
        or_admin(recall(&carol, &group, 3)),
    ] {
        assert_eq!(stores.post(post).await, PostResult::NotAllowed);
    }
    stores.done(or_admin(recall(&carol, &group, 1))).await;
    stores.done(or_admin(recall(&bob, &group, 2))).await;
    stores.done(or_admin(recall(&bob, &group, 4))).await;
    assert_eq!(stores.post(only(Amenders::Sender, edit(&bob, &group, 2, "?"))).await, PostResult::NotAllowed);
}

async fn members_can_be_read_without_anything_else(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let (one, two) = (stores.group(&[&alice, &bob]).await, stores.group(&[&carol]).await);
    let unknown = ConversationId::new_group(proto::Time(1));
    let members = async || stores.two.members(&[one.clone(), unknown.clone(), two.clone()]).await.unwrap();
    assert_eq!(members().await, [vec![alice.clone(), bob.clone()], vec![], vec![carol.clone()]]);
    stores.change(&alice, &one, remove(&[&bob])).await;
    stores.change(&carol, &two, remove(&[&carol])).await;
    assert_eq!(members().await, [vec![alice], vec![], vec![]]);
}

async fn a_change_is_filed_without_a_seq_between_the_messages(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "one")).await;
    let rename = Change { name: Some("other".into()), ..Default::default() };
    let done = stores.change(&alice, &group, rename).await;
    stores.done(message(&bob, &group, "two")).await;
    for user in [&alice, &bob] {
        let inbox = stores.inbox(user).await;
        let seqs: Vec<u64> = inbox.iter().map(|filed| filed.event.seq.0).collect();
        assert_eq!(seqs, [0, 1, 0, 2]);
        if user == &alice {
            assert_eq!(done.position.unwrap().position, inbox[2].position);
        }
    }
    let state = stores.one.conversations(&[group], None).await.unwrap().remove(0).unwrap();
    assert_eq!(state.group.unwrap().name, "other");
}

async fn a_stale_change_changes_nothing(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob]).await;
    let before = stores.version(&group).await;
    stores.change(&alice, &group, Change { name: Some("other".into()), ..Default::default() }).await;
    for expect in [before, Version(0), Version(99)] {
        let stale = Change { expect, name: Some("stale".into()), ..add(&[&carol]) };
        assert_eq!(stores.post(changed(&bob, &group, stale)).await, PostResult::Stale);
    }
    let state = stores.one.conversations(&[group], None).await.unwrap().remove(0).unwrap();
    assert_eq!(state.group.unwrap().name, "other");
    assert_eq!(state.members.len(), 2);
    assert_eq!(stores.inbox(&bob).await.len(), 2);
    assert_eq!(stores.inbox(&carol).await, []);
}

async fn a_group_is_made_once(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    let again = Change { owner: Some(alice.clone()), ..add(&[&alice]) };
    assert_eq!(stores.post(changed(&alice, &group, again)).await, PostResult::Stale);
    assert_eq!(stores.inbox(&alice).await.len(), 1);
}

async fn of_concurrent_changes_one_wins(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let group = stores.group(&[&alice]).await;
    let expect = stores.version(&group).await;
    let mut tasks = JoinSet::new();
    for number in 0..10 {
        let store = if number % 2 == 0 { stores.one.clone() } else { stores.two.clone() };
        let change = Change { expect, name: Some(number.to_string()), ..Default::default() };
        let post = changed(&alice, &group, change);
        tasks.spawn(async move { (number, store.post(vec![post]).await.unwrap().remove(0)) });
    }
    let answers = tasks.join_all().await;
    let won: Vec<_> = answers.iter().filter(|(_, answer)| *answer != PostResult::Stale).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    let state = stores.one.conversations(&[group], None).await.unwrap().remove(0).unwrap();
    assert_eq!(state.group.unwrap().name, won[0].0.to_string());
}

/// Bob joins and leaves while others write: he gets exactly the messages that
/// were numbered while he was a member, in order.
async fn of_concurrent_joins_leaves_and_sends_each_message_is_for_its_members(kind: Kind) {
    const SENDS: usize = 40;
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &carol]).await;
    let mut senders = JoinSet::new();
    for (sender, store) in [(&alice, &stores.one), (&carol, &stores.two)] {
        let (sender, store, group) = (sender.clone(), store.clone(), group.clone());
        senders.spawn(async move {
            for number in 0..SENDS {
                let post = message(&sender, &group, &number.to_string());
                Done::of(store.post(vec![post]).await.unwrap().remove(0));
            }
        });
    }
    let mut expected: Vec<u64> = Vec::new();
    while expected.is_empty() || !senders.is_empty() {
        let joined = stores.change(&alice, &group, add(&[&bob])).await.seq.0;
        let left = stores.change(&alice, &group, remove(&[&bob])).await.seq.0;
        expected.extend(joined + 1..=left);
        while let Some(ended) = senders.try_join_next() {
            ended.unwrap();
        }
        if senders.is_empty() && expected.is_empty() {
            // On a fast store nothing may have been written while he was in:
            // write something.
            stores.change(&alice, &group, add(&[&bob])).await;
            expected.push(stores.done(message(&alice, &group, "for bob")).await.seq.0);
            stores.change(&alice, &group, remove(&[&bob])).await;
        }
    }
    let seqs = async |user: &UserId| -> Vec<u64> {
        stores.inbox(user).await.iter().map(|filed| filed.event.seq.0).filter(|seq| *seq > 0).collect()
    };
    assert_eq!(seqs(&bob).await, expected);
    let all = seqs(&alice).await;
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(seqs(&carol).await, all);
    assert!(all.len() >= 2 * SENDS);
}

async fn only_members_change_a_group(kind: Kind) {
    let stores = kind.open().await;
    let (alice, mallory) = (stores.user("alice"), stores.user("mallory"));
    let group = stores.group(&[&alice]).await;
    let expect = stores.version(&group).await;
    let change = Change { expect, ..add(&[&mallory]) };
    assert_eq!(stores.post(changed(&mallory, &group, change.clone())).await, PostResult::NotMember);
    let nowhere = ConversationId::new_group(proto::Time(1));
    assert_eq!(stores.post(changed(&mallory, &nowhere, change)).await, PostResult::NotMember);
    assert_eq!(stores.inbox(&mallory).await, []);
}

async fn a_change_of_two_entries_files_both_in_order(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    let expect = stores.version(&group).await;
    let change = Change { expect, owner: Some(bob.clone()), ..remove(&[&alice]) };
    let mut post = changed(&alice, &group, change);
    post.entries = post.entries.iter().cloned().chain([change_entry(&alice)]).collect();
    let fingerprints: Vec<u32> = post.entries.iter().map(|entry| entry.fingerprint.0).collect();
    Done::of(stores.post(post).await);
    for user in [&alice, &bob] {
        let inbox = stores.inbox(user).await;
        let found: Vec<u32> = inbox[1..].iter().map(|filed| filed.event.entry.fingerprint).collect();
        assert_eq!(found, fingerprints);
    }
    let state = stores.one.conversations(&[group], None).await.unwrap().remove(0).unwrap();
    let about = state.group.unwrap();
    assert_eq!(about.owner, bob);
    assert_eq!(about.version, Version(expect.0 + 2), "the version counts entries");
}

async fn a_joiner_sees_what_comes_after_joining(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice]).await;
    stores.done(message(&alice, &group, "before")).await;
    stores.change(&alice, &group, add(&[&bob])).await;
    stores.done(message(&alice, &group, "after")).await;
    let inbox = stores.inbox(&bob).await;
    let seqs: Vec<u64> = inbox.iter().map(|filed| filed.event.seq.0).collect();
    assert_eq!(seqs, [0, 2], "the joining, then what comes after it");
    let query = HistoryQuery {
        user: bob.clone(),
        conversation: group.clone(),
        range: HistoryRange::After(Seq(0)),
        limit: 10,
    };
    let page = stores.one.history(query).await.unwrap().unwrap();
    assert_eq!(page.messages.iter().map(|shown| shown.message.seq.0).collect::<Vec<_>>(), [2]);
    let state = stores.one.conversations(&[group], None).await.unwrap().remove(0).unwrap();
    assert_eq!((state.members[1].since, state.members[1].read), (Seq(1), Seq(1)));
}

async fn the_removed_member_gets_the_removal_as_the_last(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "with bob")).await;
    stores.change(&alice, &group, remove(&[&bob])).await;
    stores.done(message(&alice, &group, "without bob")).await;
    assert_eq!(stores.post(message(&bob, &group, "?")).await, PostResult::NotMember);
    let inbox = stores.inbox(&bob).await;
    let seqs: Vec<u64> = inbox.iter().map(|filed| filed.event.seq.0).collect();
    assert_eq!(seqs, [0, 1, 0]);
    assert_eq!(stores.inbox(&alice).await.len(), 4);
    let query = HistoryQuery { user: bob, conversation: group, range: HistoryRange::Newest, limit: 10 };
    assert_eq!(stores.one.history(query).await.unwrap(), None);
}

async fn who_leaves_is_answered_where_the_leaving_is(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    let done = stores.change(&bob, &group, remove(&[&bob])).await;
    let last = stores.inbox(&bob).await.pop().unwrap();
    assert_eq!(done.position.unwrap().position, last.position);
}

async fn adding_a_member_again_changes_nothing_for_it(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "one")).await;
    stores.change(&alice, &group, add(&[&bob])).await;
    let state = stores.one.conversations(&[group], None).await.unwrap().remove(0).unwrap();
    assert_eq!(state.members.len(), 2);
    assert_eq!(state.members[1].since, Seq(0));
    assert_eq!(stores.inbox(&bob).await.len(), 3);
}

async fn who_comes_back_starts_at_the_coming_back(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.change(&bob, &group, remove(&[&bob])).await;
    stores.done(message(&alice, &group, "missed")).await;
    stores.change(&alice, &group, add(&[&bob])).await;
    stores.done(message(&alice, &group, "seen")).await;
    assert_eq!(texts(&stores.inbox(&bob).await, &group), [(2, "seen".into())]);
    let state = stores.one.conversations(&[group], None).await.unwrap().remove(0).unwrap();
    assert_eq!(state.members[1].user, bob);
    assert_eq!(state.members[1].since, Seq(1));
}

async fn a_group_without_members_is_gone(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "the only one")).await;
    stores.change(&alice, &group, remove(&[&alice])).await;
    stores.change(&bob, &group, remove(&[&bob])).await;
    assert_eq!(stores.one.conversations(std::slice::from_ref(&group), None).await.unwrap(), [None]);
    assert_eq!(stores.post(message(&alice, &group, "?")).await, PostResult::NotMember);
    assert_eq!(stores.one.memberships(&alice).await.unwrap(), []);
    let seqs = |inbox: Vec<store::model::InboxEvent>| inbox.iter().map(|f| f.event.seq.0).collect::<Vec<_>>();
    assert_eq!(seqs(stores.inbox(&alice).await), [0, 1, 0], "inboxes keep what they have");
    assert_eq!(seqs(stores.inbox(&bob).await), [0, 1, 0, 0]);
}

async fn a_change_says_the_head_at_its_time(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let group = stores.group(&[&alice]).await;
    stores.done(message(&alice, &group, "one")).await;
    stores.done(message(&alice, &group, "two")).await;
    let done = stores.change(&alice, &group, Change { name: Some("x".into()), ..Default::default() }).await;
    assert_eq!(done.seq, Seq(2));
}
