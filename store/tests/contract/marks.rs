//! `delivered` and `read` marks, and acknowledging.

use proto::{ConversationId, Cursor, Fingerprint, Position, Seq, UserId};
use store::Bounds;
use store::model::{Acknowledge, AcknowledgeResult, Change, Mark, MarkKind, MarkResult, Member, StartPoint};

use super::harness::{Kind, Stores, for_every_store, message};

for_every_store![
    a_mark_goes_up_and_never_down,
    a_mark_beyond_the_head_is_refused,
    only_members_have_marks,
    sending_is_reading,
    reading_is_having_been_delivered,
    who_comes_back_has_no_marks_before_the_coming_back,
    acknowledging_sets_the_delivered_marks_once,
    acknowledging_names_the_newest_of_each_conversation,
    acknowledging_no_place_is_said_to_be_so,
    acknowledging_a_trimmed_place_is_accepted,
];

async fn mark(
    stores: &Stores,
    user: &UserId,
    conversation: &ConversationId,
    kind: MarkKind,
    seq: u64,
) -> MarkResult {
    let mark = Mark { conversation: conversation.clone(), user: user.clone(), kind, seq: Seq(seq) };
    stores.one.mark(vec![mark]).await.unwrap().remove(0)
}

async fn member(stores: &Stores, conversation: &ConversationId, user: &UserId) -> Member {
    let state =
        stores.two.conversations(std::slice::from_ref(conversation), None).await.unwrap().remove(0).unwrap();
    state.members.into_iter().find(|member| member.user == *user).unwrap()
}

async fn acknowledge(stores: &Stores, user: &UserId, cursor: Cursor) -> AcknowledgeResult {
    let item = Acknowledge::up_to(user.clone(), cursor);
    stores.one.acknowledge(vec![item]).await.unwrap().remove(0)
}

async fn a_mark_goes_up_and_never_down(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    for _ in 0..5 {
        stores.send(&alice, &bob, "hi").await;
    }
    for which in [MarkKind::Delivered, MarkKind::Read] {
        assert_eq!(mark(&stores, &bob, &conversation, which, 3).await, MarkResult::Advanced);
        assert_eq!(mark(&stores, &bob, &conversation, which, 3).await, MarkResult::Unchanged);
        assert_eq!(mark(&stores, &bob, &conversation, which, 2).await, MarkResult::Unchanged);
        assert_eq!(mark(&stores, &bob, &conversation, which, 5).await, MarkResult::Advanced);
    }
    let bobs = member(&stores, &conversation, &bob).await;
    assert_eq!((bobs.delivered, bobs.read), (Seq(5), Seq(5)));
}

async fn a_mark_beyond_the_head_is_refused(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    stores.send(&alice, &bob, "hi").await;
    assert_eq!(mark(&stores, &bob, &conversation, MarkKind::Read, 2).await, MarkResult::BeyondHead);
    assert_eq!(member(&stores, &conversation, &bob).await.read, Seq(0));
}

async fn only_members_have_marks(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, mallory) = (stores.user("alice"), stores.user("bob"), stores.user("mallory"));
    let conversation = ConversationId::direct(&alice, &bob);
    assert_eq!(mark(&stores, &bob, &conversation, MarkKind::Read, 1).await, MarkResult::NotMember);
    stores.send(&alice, &bob, "hi").await;
    assert_eq!(mark(&stores, &mallory, &conversation, MarkKind::Read, 1).await, MarkResult::NotMember);
    let group = stores.group(&[&alice]).await;
    stores.done(message(&alice, &group, "hi")).await;
    assert_eq!(mark(&stores, &bob, &group, MarkKind::Read, 1).await, MarkResult::NotMember);
}

async fn sending_is_reading(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    stores.send(&bob, &alice, "one").await;
    stores.send(&alice, &bob, "two").await;
    assert_eq!(member(&stores, &conversation, &alice).await.read, Seq(2));
    assert_eq!(member(&stores, &conversation, &bob).await.read, Seq(1));
    assert_eq!(mark(&stores, &alice, &conversation, MarkKind::Read, 1).await, MarkResult::Unchanged);
}

async fn reading_is_having_been_delivered(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    for text in ["one", "two", "three"] {
        stores.send(&alice, &bob, text).await;
    }
    assert_eq!(mark(&stores, &bob, &conversation, MarkKind::Read, 2).await, MarkResult::Advanced);
    let marks = async |user| {
        let member = member(&stores, &conversation, user).await;
        (member.delivered, member.read)
    };
    assert_eq!(marks(&bob).await, (Seq(2), Seq(2)));
    assert_eq!(marks(&alice).await, (Seq(3), Seq(3)));
    stores.send(&bob, &alice, "four").await;
    assert_eq!(marks(&bob).await, (Seq(4), Seq(4)));
}

async fn who_comes_back_has_no_marks_before_the_coming_back(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "one")).await;
    stores.change(&alice, &group, Change { remove: vec![bob.clone()], ..Default::default() }).await;
    stores.change(&alice, &group, Change { add: vec![bob.clone()], ..Default::default() }).await;
    stores.done(message(&alice, &group, "two")).await;
    for which in [MarkKind::Delivered, MarkKind::Read] {
        assert_eq!(mark(&stores, &bob, &group, which, 1).await, MarkResult::Unchanged);
        assert_eq!(mark(&stores, &bob, &group, which, 2).await, MarkResult::Advanced);
    }
}

async fn acknowledging_sets_the_delivered_marks_once(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    stores.send(&alice, &bob, "one").await;
    stores.send(&alice, &bob, "two").await;
    let two = stores.look(&bob, StartPoint::Head).await.start;
    stores.send(&alice, &bob, "three").await;
    let three = stores.look(&bob, StartPoint::Head).await.start;
    let marks = |seq| AcknowledgeResult::Marks(vec![(conversation.clone(), Seq(seq))]);
    assert_eq!(acknowledge(&stores, &bob, two).await, marks(2));
    assert_eq!(member(&stores, &conversation, &bob).await.delivered, Seq(2));
    assert_eq!(acknowledge(&stores, &bob, two).await, AcknowledgeResult::Marks(vec![]));
    assert_eq!(acknowledge(&stores, &bob, three).await, marks(3));
    assert_eq!(acknowledge(&stores, &bob, two).await, AcknowledgeResult::Marks(vec![]));
    assert_eq!(member(&stores, &conversation, &bob).await.delivered, Seq(3));
    assert_eq!(member(&stores, &conversation, &alice).await.delivered, Seq(3), "she wrote it");
}

async fn acknowledging_names_the_newest_of_each_conversation(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    for _ in 0..2 {
        stores.send(&alice, &bob, "hi").await;
        stores.send(&carol, &bob, "hi").await;
    }
    stores.send(&carol, &bob, "hi").await;
    let head = stores.look(&bob, StartPoint::Head).await.start;
    let AcknowledgeResult::Marks(mut marks) = acknowledge(&stores, &bob, head).await else {
        panic!("the head is a position");
    };
    marks.sort();
    let expected =
        [(ConversationId::direct(&alice, &bob), Seq(2)), (ConversationId::direct(&bob, &carol), Seq(3))];
    assert_eq!(marks, expected);
}

async fn acknowledging_no_place_is_said_to_be_so(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    stores.send(&alice, &bob, "hi").await;
    let head = stores.look(&bob, StartPoint::Head).await.start;
    let other = Cursor { fingerprint: Fingerprint(head.fingerprint.0 ^ 2), ..head };
    let beyond = Cursor { position: Position(2), ..head };
    for nowhere in [other, beyond] {
        assert_eq!(acknowledge(&stores, &bob, nowhere).await, AcknowledgeResult::NoSuchPosition);
    }
    assert_eq!(acknowledge(&stores, &bob, Cursor::ORIGIN).await, AcknowledgeResult::Marks(vec![]));
    let nobody = stores.user("nobody");
    assert_eq!(acknowledge(&stores, &nobody, Cursor::ORIGIN).await, AcknowledgeResult::Marks(vec![]));
    assert_eq!(member(&stores, &ConversationId::direct(&alice, &bob), &bob).await.delivered, Seq(0));
}

async fn acknowledging_a_trimmed_place_is_accepted(kind: Kind) {
    let stores = kind.open_with(Bounds { inbox_events: 5, ..Bounds::default() }).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    stores.send(&alice, &bob, "hi").await;
    let early = stores.look(&bob, StartPoint::Head).await.start;
    for _ in 0..30 {
        stores.send(&alice, &bob, "hi").await;
    }
    assert!(matches!(acknowledge(&stores, &bob, early).await, AcknowledgeResult::Marks(_)));
    let head = stores.look(&bob, StartPoint::Head).await.start;
    let expected = AcknowledgeResult::Marks(vec![(ConversationId::direct(&alice, &bob), Seq(31))]);
    assert_eq!(acknowledge(&stores, &bob, head).await, expected);
}
