//! What RFC 6455 asks of a WebSocket server, and what a session over one does
//! with frames that are not what they should be.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use cluster_tests::PATIENCE;
use futures_util::{SinkExt, StreamExt};
use loadtest::client::{Client, Transport, WebSocket};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::case::{Case, connect};

type Socket = WebSocketStream<TcpStream>;

#[tokio::test]
async fn a_message_in_fragments_is_one_message() -> Result<()> {
    let case = Case::new().await?;
    let mut socket = open(&case).await?;
    let text =
        json!({"type": "send", "ref": "r", "to": case.user("alice"), "body": "☎ in pieces"}).to_string();
    let bytes = Bytes::from(text);
    // A cut within a character, an empty piece, and a ping between.
    let cut = bytes.iter().position(|byte| *byte >= 0x80).context("a character of several bytes")? + 1;
    send(&mut socket, bytes.slice(..cut), OpCode::Data(Data::Text), false).await?;
    send(&mut socket, Bytes::new(), OpCode::Data(Data::Continue), false).await?;
    send(&mut socket, Bytes::from_static(b"p"), OpCode::Control(Control::Ping), true).await?;
    send(&mut socket, bytes.slice(cut..), OpCode::Data(Data::Continue), true).await?;
    assert_eq!(next(&mut socket).await?, Message::Pong("p".into()));
    let sent = json(&next(&mut socket).await?)?;
    assert_eq!((&sent["type"], &sent["ref"], &sent["seq"]), (&json!("sent"), &json!("r"), &json!(1)));
    let history = json!({"type": "history", "conversation": case.conversation("alice", "bob")});
    let page = case.http("bob", 1)?.command(&history).await?;
    assert_eq!(page.0["messages"][0]["body"], "☎ in pieces");
    Ok(())
}

#[rstest]
#[case::binary_where_text_is_spoken(Transport::WebSocket, Message::binary(&b"{\"type\":\"ping\"}"[..]))]
#[case::text_where_binary_is_spoken(Transport::WebSocketProtobuf, Message::text("{\"type\":\"ping\"}"))]
#[case::no_json(Transport::WebSocket, Message::text("{"))]
#[case::no_object(Transport::WebSocket, Message::text("[1]"))]
#[case::no_type(Transport::WebSocket, Message::text("{\"to\":\"bob\"}"))]
#[case::an_unknown_type(Transport::WebSocket, Message::text("{\"type\":\"dance\"}"))]
#[case::no_protobuf(Transport::WebSocketProtobuf, Message::binary(&b"\xff\xff"[..]))]
#[case::an_empty_message(Transport::WebSocket, Message::text(""))]
#[tokio::test]
async fn a_bad_frame_is_answered_and_the_session_goes_on(
    #[case] transport: Transport,
    #[case] bad: Message,
) -> Result<()> {
    let case = Case::new().await?;
    let Client::WebSocket(mut client) = case.connect(transport, "bob", 0).await? else {
        bail!("it was opened as a WebSocket")
    };
    client.send_message(bad).await?;
    let error = timeout(PATIENCE, client.next_frame()).await??;
    assert_eq!((error.kind(), error.text("code")), ("error", Some("bad_request")));
    let pong = client.command(json!({"type": "ping"})).await?;
    assert_eq!(pong.kind(), "pong");
    Ok(())
}

#[tokio::test]
async fn more_than_a_hundred_bad_frames_end_the_session() -> Result<()> {
    let case = Case::new().await?;
    let mut socket = open(&case).await?;
    for _ in 0..=100 {
        socket.feed(Message::text("{}")).await?;
    }
    socket.flush().await?;
    let mut errors = 0;
    let code = loop {
        match next(&mut socket).await? {
            Message::Close(close) => break close.context("a reason")?.code.into(),
            other => {
                assert_eq!(json(&other)?["code"], "bad_request");
                errors += 1;
            }
        }
    };
    assert_eq!((errors, code), (101, 4400_u16));
    Ok(())
}

#[rstest]
#[case::json(Transport::WebSocket)]
#[case::protobuf(Transport::WebSocketProtobuf)]
#[tokio::test]
async fn a_body_beyond_the_limit_is_too_large_and_the_session_goes_on(
    #[case] transport: Transport,
) -> Result<()> {
    let case = Case::new().await?;
    let mut bob = connect(transport, &case.account("bob", 0)).await?;
    // Two of the 65,536 bytes are quotes.
    let sent = bob.send(&case.user("alice"), json!("x".repeat(65_534)), "most").await?;
    assert_eq!(sent.number("seq"), Some(1));
    let refused = bob.send(&case.user("alice"), json!("x".repeat(65_535)), "more").await;
    assert_eq!(refused.unwrap_err().code(), Some("too_large"));
    let sent = bob.send(&case.user("alice"), json!("x"), "less").await?;
    assert_eq!(sent.number("seq"), Some(2));
    Ok(())
}

#[rstest]
#[case::json(Transport::WebSocket)]
#[case::protobuf(Transport::WebSocketProtobuf)]
#[tokio::test]
async fn a_message_to_many_has_a_result_for_each(#[case] transport: Transport) -> Result<()> {
    let case = Case::new().await?;
    let mut account = case.account("shop", 0);
    account.token = crate::case::issuer().token_with_scope(&case.user("shop"), "service");
    let mut shop = connect(transport, &account).await?;
    let mut results = Vec::new();
    for names in [&["bob"][..], &["alice", "bob"]] {
        let to: Vec<String> = names.iter().map(|name| case.user(name)).collect();
        let command = json!({"type": "send", "to": to, "body": 1, "client_msg_id": "m"});
        let answer = shop.command(command).await?;
        assert_eq!(answer.kind(), "ok");
        for (name, result) in names.iter().zip(answer.0["results"].as_array().context("results")?) {
            assert_eq!(result["conversation"], case.conversation("shop", name));
            results.push((result["type"].clone(), result["seq"].clone(), result["duplicate"] == true));
        }
    }
    assert_eq!(results, [false, false, true].map(|repeat| (json!("sent"), json!(1), repeat)));
    Ok(())
}

#[tokio::test]
async fn a_frame_beyond_the_limit_closes_with_1009() -> Result<()> {
    let case = Case::new().await?;
    let mut socket = open(&case).await?;
    socket.send(Message::text(" ".repeat(262_144))).await?;
    assert_eq!(json(&next(&mut socket).await?)?["code"], "bad_request");
    // The server need not have read it all before it closes.
    let _ = socket.send(Message::text(" ".repeat(262_145))).await;
    assert_eq!(closed(&mut socket).await?, 1009);
    // The same in fragments that are small themselves.
    let mut socket = open(&case).await?;
    for count in 0..5 {
        let opcode = if count == 0 { Data::Text } else { Data::Continue };
        let piece = Bytes::from(vec![b' '; 60_000]);
        let _ = send(&mut socket, piece, OpCode::Data(opcode), count == 4).await;
    }
    assert_eq!(closed(&mut socket).await?, 1009);
    Ok(())
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_with_1007() -> Result<()> {
    let case = Case::new().await?;
    let mut socket = open(&case).await?;
    let bytes = Bytes::from_static(b"{\"type\":\"ping\",\"ref\":\"\xc3\x28\"}");
    send(&mut socket, bytes, OpCode::Data(Data::Text), true).await?;
    assert_eq!(closed(&mut socket).await?, 1007);
    Ok(())
}

#[rstest]
#[case::an_unknown_opcode(OpCode::Data(Data::Reserved(3)), true)]
#[case::a_continuation_of_nothing(OpCode::Data(Data::Continue), true)]
#[case::a_ping_in_fragments(OpCode::Control(Control::Ping), false)]
#[tokio::test]
async fn what_is_not_rfc_6455_closes_with_1002(#[case] opcode: OpCode, #[case] last: bool) -> Result<()> {
    let case = Case::new().await?;
    let mut socket = open(&case).await?;
    send(&mut socket, Bytes::from_static(b"x"), opcode, last).await?;
    assert_eq!(closed(&mut socket).await?, 1002);
    Ok(())
}

#[rstest]
#[case::of_theirs(None, 1005)]
#[case::of_ours(Some(OpCode::Data(Data::Reserved(3))), 1002)]
#[tokio::test]
async fn commands_just_before_a_close_are_answered(
    #[case] wrong: Option<OpCode>,
    #[case] code: u16,
) -> Result<()> {
    let case = Case::new().await?;
    let mut socket = open(&case).await?;
    for number in 1..=5 {
        let command = json!({"type": "send", "ref": number, "to": case.user("alice"), "body": number});
        socket.feed(Message::text(command.to_string())).await?;
    }
    match wrong {
        // All in one write, so that they come together.
        Some(opcode) => send(&mut socket, Bytes::from_static(b"x"), opcode, true).await?,
        None => socket.close(None).await?,
    }
    for number in 1..=5 {
        let sent = json(&next(&mut socket).await?)?;
        assert_eq!((&sent["type"], &sent["ref"]), (&json!("sent"), &json!(number)), "{sent}");
    }
    let Message::Close(close) = next(&mut socket).await? else { bail!("no close frame behind the answers") };
    assert_eq!(close.map_or(1005, |close| close.code.into()), code);
    assert!(timeout(PATIENCE, socket.next()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn after_our_close_frame_nothing_more_comes_and_the_peer_is_heard_out() -> Result<()> {
    let case = Case::new().await?;
    let mut socket = open(&case).await?;
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    let mut huge = Vec::new();
    FrameHeader { mask: Some([0; 4]), ..header }.format(8 << 20, &mut huge)?;
    let stream = socket.get_mut();
    stream.write_all(&huge).await?;
    // More than fits between the two: it can only go if it is read.
    stream.write_all(&vec![b' '; 8 << 20]).await?;
    let mut last = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut last)).await??;
    assert_eq!(last[..4], [0x88, 17, 0x03, 0xf1], "a close frame with 1009, and the end");
    // The server has ended its side only.
    stream.write_all(b"more").await?;
    stream.shutdown().await?;
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 1])).await??, 0);
    Ok(())
}

#[tokio::test]
async fn a_goodbye_is_answered() -> Result<()> {
    let case = Case::new().await?;
    let mut socket = open(&case).await?;
    socket.close(None).await?;
    let message = next(&mut socket).await?;
    assert!(matches!(message, Message::Close(_)), "{message:?}");
    assert!(timeout(PATIENCE, socket.next()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_new_token_is_taken_for_the_same_user_and_no_other() -> Result<()> {
    let case = Case::new().await?;
    let mut bob = case.connect(Transport::WebSocket, "bob", 0).await?;
    let own = crate::case::issuer().token(&case.user("bob"));
    let other = crate::case::issuer().token(&case.user("carol"));
    assert_eq!(bob.command(json!({"type": "auth", "token": own})).await?.kind(), "ok");
    let refused = bob.command(json!({"type": "auth", "token": other})).await;
    assert_eq!(refused.unwrap_err().code(), Some("forbidden"));
    let refused = bob.command(json!({"type": "auth", "token": "none"})).await;
    assert_eq!(refused.unwrap_err().code(), Some("unauthorized"));
    assert_eq!(bob.command(json!({"type": "ping"})).await?.kind(), "pong");
    Ok(())
}

/// Bob's socket, past `welcome`.
async fn open(case: &Case) -> Result<Socket> {
    Ok(timeout(PATIENCE, WebSocket::connect(&case.account("bob", 0))).await??.into_stream())
}

async fn send(socket: &mut Socket, bytes: Bytes, opcode: OpCode, last: bool) -> Result<()> {
    let header = FrameHeader { is_final: last, opcode, ..FrameHeader::default() };
    Ok(socket.send(Message::Frame(Frame::from_payload(header, bytes))).await?)
}

async fn next(socket: &mut Socket) -> Result<Message> {
    Ok(timeout(PATIENCE, socket.next()).await?.context("the socket has ended")??)
}

/// Reads to the close frame.
async fn closed(socket: &mut Socket) -> Result<u16> {
    loop {
        if let Message::Close(close) = next(socket).await? {
            return Ok(close.context("a close frame with a code")?.code.into());
        }
    }
}

fn json(message: &Message) -> Result<Value> {
    Ok(serde_json::from_str(message.to_text()?)?)
}
