//! Links: over a socket, in process, draining.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::WireType;
use proto::form::{FORM, HEADER};
use proto::wire::{self, Requests, reply, request::Command};
use router::Config;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::gateway::{Running, send, soon};

#[tokio::test]
async fn the_same_service_answers_in_process() {
    let router = Running::start().await;
    let (mut here, mut there) = (router.in_process().await, router.connect().await);
    assert_eq!(here.send("alice", "alice~bob", "1").await.seq, 1);
    assert_eq!(there.send("bob", "alice~bob", "2").await.seq, 2);
    assert_eq!(here.inbox("alice").await, there.inbox("alice").await);
}

#[tokio::test]
async fn a_request_without_a_command_is_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let (requests, queue) = mpsc::channel(1);
    let mut client = proto::wire::router_client::RouterClient::new(router.service.server());
    gateway.replies = client.link(ReceiverStream::new(queue)).await.unwrap().into_inner();
    let request = wire::Request { id: 5, user: "alice".into(), command: None, trace: Bytes::new() };
    requests.send(Requests { requests: vec![request.encode_to_vec().into()] }).await.unwrap();
    match gateway.answer(5).await {
        reply::Result::Failure(failure) => assert_eq!(failure.code, "bad_request"),
        other => panic!("{other:?}"),
    }
}

/// A link whose gateway says this of its form.
async fn link_of(router: &Running, form: &str) -> Result<tonic::Response<Streaming<wire::Replies>>, Status> {
    let (_, queue) = mpsc::channel(1);
    let mut request = tonic::Request::new(ReceiverStream::new(queue));
    request.metadata_mut().insert(HEADER, form.parse().unwrap());
    proto::wire::router_client::RouterClient::new(router.service.server()).link(request).await
}

#[tokio::test]
async fn a_gateway_of_a_later_form_is_refused_in_a_line_and_one_of_the_next_minor_is_not() {
    let router = Running::start().await;
    for form in [format!("{}.{}", FORM.major, FORM.minor + 2), format!("{}.0", FORM.major + 1), "x".into()] {
        let refused = link_of(&router, &form).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("form"), "{refused}");
    }
    let beside = link_of(&router, &format!("{}.{}", FORM.major, FORM.minor + 1)).await.unwrap();
    let said = beside.metadata().get(HEADER).unwrap().to_str().unwrap();
    assert_eq!(said, FORM.to_string());
}

/// A field with a number that nobody uses, and a text in it.
fn of_tomorrow(number: u64) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encoding::encode_key(u32::try_from(number).unwrap(), WireType::LengthDelimited, &mut field);
    prost::encoding::encode_varint(8, &mut field);
    field.extend(b"tomorrow");
    field
}

#[tokio::test]
async fn what_a_later_gateway_adds_to_a_request_is_passed_over_and_its_new_command_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let (requests, queue) = mpsc::channel(1);
    let mut client = proto::wire::router_client::RouterClient::new(router.service.server());
    gateway.replies = client.link(ReceiverStream::new(queue)).await.unwrap().into_inner();
    let request = |id, command| wire::Request { id, user: "alice".into(), command, trace: Bytes::new() };
    let sent = [request(5, Some(send("alice~bob", "1"))).encode_to_vec(), of_tomorrow(1_999)].concat();
    let unknown = [request(6, None).encode_to_vec(), of_tomorrow(1_998)].concat();
    requests.send(Requests { requests: vec![sent.into(), unknown.into()] }).await.unwrap();
    assert!(matches!(gateway.answer(5).await, reply::Result::Sent(_)));
    match gateway.answer(6).await {
        reply::Result::Failure(failure) => assert_eq!(failure.code, "bad_request"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_link_that_carries_what_is_no_request_ends_and_others_go_on() {
    let router = Running::start().await;
    let mut other = router.connect().await;
    let (requests, queue) = mpsc::channel(1);
    let mut client = proto::wire::router_client::RouterClient::new(router.service.server());
    let mut replies = client.link(ReceiverStream::new(queue)).await.unwrap().into_inner();
    requests.send(Requests { requests: vec![Bytes::from_static(b"\xff")] }).await.unwrap();
    while soon("the link's end", replies.message()).await.unwrap().is_some() {}
    assert_eq!(other.send("alice", "alice~bob", "1").await.seq, 1);
}

#[tokio::test]
async fn a_router_that_stops_says_so_answers_what_it_has_and_ends() {
    let mut router = Running::start().await;
    let mut gateway = router.connect().await;
    let commands = (0..2_000).map(|n: u32| ("alice", send("alice~bob", &n.to_string())));
    let ids = gateway.post_all(commands.collect()).await;
    // One answer shows that the frame has been read.
    gateway.answer(ids[0]).await;
    router.shutdown.cancel();
    for id in &ids[1..] {
        let answer = gateway.answer(*id).await;
        assert!(matches!(answer, reply::Result::Sent(_)), "{answer:?}");
    }
    while !gateway.draining {
        let frame = soon("the word of the drain", gateway.replies.message()).await.unwrap();
        gateway.draining = frame.expect("the link ended without a word").draining;
    }
    gateway.close();
    while soon("the link's end", gateway.replies.message()).await.unwrap().is_some() {}
    router.stopped().await;
}

#[tokio::test]
async fn a_gateway_that_does_not_hang_up_cannot_hold_the_drain() {
    let config = Config { drain: Duration::from_secs(2), ..Config::default() };
    let mut router = Running::with(config).await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    router.shutdown.cancel();
    while soon("the link's end", gateway.replies.message()).await.unwrap().is_some() {}
    router.stopped().await;
}

#[tokio::test]
async fn requests_that_were_on_their_way_when_the_drain_began_are_answered() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    router.shutdown.cancel();
    assert_eq!(gateway.send("alice", "alice~bob", "2").await.seq, 2);
}

#[tokio::test]
async fn a_link_that_has_its_age_is_asked_to_begin_anew() {
    let config = Config { link_age: Some(Duration::from_millis(50)), ..Config::default() };
    let router = Running::with(config).await;
    let mut gateway = router.in_process().await;
    let frame = soon("the word of the drain", gateway.replies.message()).await.unwrap().unwrap();
    assert!(frame.draining);
    gateway.close();
    assert!(soon("the link's end", gateway.replies.message()).await.unwrap().is_none());
    assert_eq!(router.in_process().await.send("alice", "alice~bob", "1").await.seq, 1);
}

#[tokio::test]
async fn a_link_that_its_gateway_drops_leaves_nothing_behind() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    drop(gateway);
    router.shutdown.cancel();
    soon("the drain", router.service.drained()).await;
}

#[tokio::test]
async fn health_is_served_beside_the_links() {
    let router = Running::start().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", router.address))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest { service: "switchboard.v1.Router".into() };
    let status = health.check(request).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
    assert!(router.service.ready().await.is_ok());
}

#[tokio::test]
async fn rare_and_frequent_commands_are_answered_side_by_side() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let mut commands = Vec::new();
    for _ in 0..100 {
        commands.push(("alice", send("alice~bob", "1")));
        commands.push(("alice", Command::Conversations(wire::Conversations::default())));
        commands.push(("bob", Command::ReadInbox(wire::ReadInbox::default())));
    }
    for id in gateway.post_all(commands).await {
        let answer = gateway.answer(id).await;
        assert!(!matches!(answer, reply::Result::Failure(_)), "{answer:?}");
    }
}
