//! Socket.IO over one WebSocket: namespaces, events, acknowledgements, bytes, and
//! what is against its protocol.

use conformance::Times;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Server, WebSocket};

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

async fn open(server: &Server) -> WebSocket {
    let mut socket = server.websocket(PATH).await;
    assert!(socket.next_text().await.starts_with('0'));
    socket
}

/// One that is in the main namespace.
async fn connect(server: &Server) -> WebSocket {
    let mut socket = open(server).await;
    socket.text("40").await;
    assert!(socket.next_text().await.starts_with(r#"40{"sid":""#));
    assert_eq!(socket.next_text().await, r#"42["auth",{}]"#);
    socket
}

#[tokio::test]
async fn a_client_connects_to_namespaces_with_what_it_gives() {
    let server = Server::start().await;
    let mut socket = open(&server).await;
    socket.text(r#"40{"token":"123"}"#).await;
    assert!(socket.next_text().await.starts_with("40{"));
    assert_eq!(socket.next_text().await, r#"42["auth",{"token":"123"}]"#);
    socket.text("40/custom,").await;
    assert!(socket.next_text().await.starts_with("40/custom,{"));
    assert_eq!(socket.next_text().await, r#"42/custom,["auth",{}]"#);
    socket.text("40/random").await;
    assert_eq!(socket.next_text().await, r#"44/random,{"message":"Invalid namespace"}"#);
    // Leaving one leaves the other.
    socket.text("41/custom").await;
    socket.text(r#"42["message","here"]"#).await;
    assert_eq!(socket.next_text().await, r#"42["message-back","here"]"#);
    socket.text("40/custom").await;
    assert!(socket.next_text().await.starts_with("40/custom,{"), "and may come back");
    server.stop().await;
}

#[tokio::test]
async fn events_come_back_and_are_acknowledged() {
    let server = Server::start().await;
    let mut socket = connect(&server).await;
    socket.text(r#"42["message",1,"2",{"3":[true]}]"#).await;
    assert_eq!(socket.next_text().await, r#"42["message-back",1,"2",{"3":[true]}]"#);
    socket.text(r#"42456["message-with-ack",1,"2",{"3":[false]}]"#).await;
    assert_eq!(socket.next_text().await, r#"43456[1,"2",{"3":[false]}]"#);
    let packet = r#"["message-with-ack",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    socket.text(&format!("452-789{packet}")).await;
    socket.bytes(&[1, 2, 3]).await;
    socket.bytes(&[4]).await;
    let answer = r#"462-789[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    assert_eq!(socket.next_text().await, answer);
    assert_eq!(socket.next().await, Some(Message::binary(vec![1, 2, 3])));
    assert_eq!(socket.next().await, Some(Message::binary(vec![4])));
    // An acknowledgement that nobody asked for is nothing.
    socket.text("43999[]").await;
    socket.text(r#"42["message"]"#).await;
    assert_eq!(socket.next_text().await, r#"42["message-back"]"#);
    server.stop().await;
}

#[tokio::test]
async fn what_is_against_the_protocol_closes_and_harms_nobody() {
    let server = Server::start().await;
    let mut other = connect(&server).await;
    let deep = format!("42{}", "[".repeat(10_000));
    let packet = r#"["message",{"_placeholder":true,"num":2}]"#;
    for wrong in [
        "4abc",
        "49[]",
        "42{}",
        "42[]",
        "42",
        "42abc[\"message-with-ack\"]",
        "4299999999999999999999999[\"message-with-ack\"]",
        "42[\"connect\"]",
        "42[null]",
        "43{}",
        "43[]",
        "44{}",
        "40",
        "40{",
        "42/custom,[\"message\"]",
        "41/never",
        "45[\"message\"]",
        "45999999999-[\"message\"]",
        "4511-[\"message\"]",
        "45-1-[\"message\"]",
        "4b",
        &deep,
    ] {
        let mut socket = connect(&server).await;
        socket.text(wrong).await;
        assert_eq!(socket.next().await, None, "{}", &wrong[..wrong.len().min(60)]);
    }
    // A number of attachments that lies.
    let mut socket = connect(&server).await;
    socket.text(&format!("453-{packet}")).await;
    socket.bytes(&[1]).await;
    socket.text(r#"42["message"]"#).await;
    assert_eq!(socket.next().await, None);
    // One that is named and not there.
    let mut socket = connect(&server).await;
    socket.text(&format!("452-{packet}")).await;
    socket.bytes(&[1]).await;
    socket.bytes(&[2]).await;
    assert_eq!(socket.next().await, None);
    // Bytes that nothing was said of.
    let mut socket = connect(&server).await;
    socket.bytes(&[1]).await;
    assert_eq!(socket.next().await, None);
    // Before it is connected to anything.
    for early in [r#"42["message"]"#, "41", "43[]"] {
        let mut socket = open(&server).await;
        socket.text(early).await;
        assert_eq!(socket.next().await, None, "{early}");
    }
    other.text(r#"42["message","still here"]"#).await;
    assert_eq!(other.next_text().await, r#"42["message-back","still here"]"#);
    server.stop().await;
}

#[tokio::test]
async fn who_connects_to_nothing_is_let_go() {
    let times = Times { connect_timeout: Times::SUITES.connect_timeout, ..crate::support::PATIENT };
    let server = Server::with(times).await;
    let mut socket = open(&server).await;
    assert_eq!(socket.next().await, None);
    // Also who leaves what it was connected to.
    let mut socket = connect(&server).await;
    socket.text("41").await;
    assert_eq!(socket.next().await, None);
    server.stop().await;
}
