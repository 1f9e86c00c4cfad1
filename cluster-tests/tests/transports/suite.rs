//! What every transport does alike. Each scenario runs for each transport.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use loadtest::client::http::Http;
use loadtest::client::{Client, Error, Transport};
use rstest::rstest;
use serde_json::{Value, json};
use testbed::wait;
use tokio::time::timeout;

use crate::case::{Case, Ending, connect, end, event, expect, is_stream, is_two_way, issuer};
use cluster_tests::PATIENCE;

/// A test of each scenario for each transport.
macro_rules! for_every_transport {
    ($($scenario:ident),* $(,)?) => {$(
        #[rstest]
        #[tokio::test]
        async fn $scenario(
            #[values(
                Transport::WebSocket,
                Transport::WebSocketProtobuf,
                Transport::Sse,
                Transport::Stream,
                Transport::Iframe,
                Transport::LongPoll,
                Transport::LongPollProtobuf,
                Transport::ShortPoll
            )]
            transport: Transport,
        ) -> Result<()> {
            scenario::$scenario(&Case::new().await?, transport).await
        }
    )*};
}

for_every_transport!(
    a_session_begins_with_all_that_its_client_needs,
    messages_come_as_they_are_written,
    a_cursor_goes_on_without_loss_or_repeat_here_and_elsewhere,
    start_is_the_oldest_event_kept,
    a_place_that_is_not_in_the_log_is_reset,
    bodies_come_through_unharmed,
    an_answer_comes_from_one_gateway_and_the_message_from_another,
    the_newest_session_of_a_device_wins,
    a_session_ends_with_its_token,
    a_reader_that_stops_holds_up_nobody_and_catches_up,
);

mod scenario {
    use super::*;

    pub(super) async fn a_session_begins_with_all_that_its_client_needs(
        case: &Case,
        transport: Transport,
    ) -> Result<()> {
        let bob = case.connect(transport, "bob", 0).await?;
        assert!(!bob.cursor().is_empty());
        let Some(welcome) = bob.welcome() else {
            assert!(!is_stream(transport), "polls carry no welcome");
            return Ok(());
        };
        let mut fields = welcome.0.clone();
        let session = fields["session"].take();
        let expected = json!({
            "type": "welcome", "user": case.user("bob"), "device": "d1", "session": null, "node": "gw-0",
            "cursor": bob.cursor(), "resumed": false, "heartbeat_ms": 25_000, "max_body_bytes": 65_536,
        });
        assert_eq!(fields, expected);
        assert!(session.as_str().is_some_and(|session| !session.is_empty()));

        let account = case.account("bob", 1).from(bob.cursor());
        drop(bob);
        let again = connect(transport, &account).await?;
        let welcome = again.welcome().context("a stream begins with welcome")?;
        assert_eq!((&welcome.0["resumed"], welcome.text("node")), (&json!(true), Some("gw-1")));
        assert_eq!(welcome.cursor(), account.cursor.as_deref());
        Ok(())
    }

    pub(super) async fn messages_come_as_they_are_written(case: &Case, transport: Transport) -> Result<()> {
        let mut bob = case.connect(transport, "bob", 0).await?;
        let mut alice = case.http("alice", 1)?;
        for seq in 1..=5 {
            let id = format!("m-{seq}");
            let command = json!({"type": "send", "to": case.user("bob"), "body": seq, "client_msg_id": id});
            let sent = alice.command(&command).await?;
            let message = event(&mut bob).await?;
            let cursor = message.cursor().context("an event has a cursor")?;
            let expected = json!({
                "type": "message", "cursor": cursor, "conversation": case.conversation("alice", "bob"),
                "seq": seq, "from": case.user("alice"), "time": sent.number("time"), "body": seq,
                "client_msg_id": id,
            });
            assert_eq!(message.0, expected);
            assert_eq!(bob.cursor(), cursor);
        }
        Ok(())
    }

    pub(super) async fn a_cursor_goes_on_without_loss_or_repeat_here_and_elsewhere(
        case: &Case,
        transport: Transport,
    ) -> Result<()> {
        let mut bob = case.connect(transport, "bob", 0).await?;
        let mut alice = case.http("alice", 1)?;
        say_all(case, &mut alice, 1..=6).await?;
        expect(&mut bob, 1..=3).await?;
        let here = case.account("bob", 0).from(bob.cursor());
        drop(bob);
        say_all(case, &mut alice, 7..=9).await?;
        let mut bob = connect(transport, &here).await?;
        expect(&mut bob, 4..=8).await?;
        let elsewhere = case.account("bob", 1).from(bob.cursor());
        drop(bob);
        let mut bob = connect(transport, &elsewhere).await?;
        say_all(case, &mut alice, 10..=11).await?;
        expect(&mut bob, 9..=11).await
    }

    pub(super) async fn start_is_the_oldest_event_kept(case: &Case, transport: Transport) -> Result<()> {
        let mut alice = case.http("alice", 1)?;
        say_all(case, &mut alice, 1..=120).await?;
        let mut bob = connect(transport, &case.account("bob", 0).from("start")).await?;
        if let Some(welcome) = bob.welcome() {
            assert_eq!(welcome.0["resumed"], true);
        }
        expect(&mut bob, 1..=120).await
    }

    pub(super) async fn a_place_that_is_not_in_the_log_is_reset(
        case: &Case,
        transport: Transport,
    ) -> Result<()> {
        let mut alice = case.http("alice", 1)?;
        say_all(case, &mut alice, 1..=2).await?;
        let mut bob = connect(transport, &case.account("bob", 0).from("2.zz")).await?;
        if let Some(welcome) = bob.welcome() {
            assert_eq!(welcome.0["resumed"], false);
        }
        let reset = event(&mut bob).await?;
        assert_eq!((reset.kind(), reset.text("reason")), ("reset", Some("rewritten")));
        assert_eq!(reset.cursor(), Some(bob.cursor()));
        // It goes on from there.
        let again = case.account("bob", 1).from(bob.cursor());
        say_all(case, &mut alice, 3..=3).await?;
        expect(&mut bob, 3..=3).await?;
        drop(bob);
        expect(&mut connect(transport, &again).await?, 3..=3).await
    }

    pub(super) async fn bodies_come_through_unharmed(case: &Case, transport: Transport) -> Result<()> {
        let mut bob = case.connect(transport, "bob", 0).await?;
        let mut alice = case.connect(Transport::WebSocket, "alice", 1).await?;
        let bodies = [
            json!("</script><script>alert(1)</script>"),
            json!("<!-- <script> ]]> --!>"),
            json!("\u{2028}\u{2029}\u{85}\u{feff}"),
            json!("\"'`\\ \\n \n\r\n\r \t \0 \u{7f}"),
            json!("\n\ndata: x\nid: 9.9\n:\n\n"),
            json!("𝕊witchboard ☎ é 漢字 🧵"),
            json!({"\"": ["</script>", null, true, -1.5, {"<": "&amp;"}], "\n": {}}),
            json!(null),
            json!(["x".repeat(60_000)]),
        ];
        for (index, body) in bodies.iter().enumerate() {
            alice.send(&case.user("bob"), body.clone(), &format!("b-{index}")).await?;
            assert_eq!(event(&mut bob).await?.0["body"], *body);
        }
        // As a client writes it that lays its JSON out over lines.
        let Client::WebSocket(alice) = &mut alice else { unreachable!("it was opened as one") };
        let spread = format!(
            "{{\"type\":\"send\",\"to\":\"{}\",\"body\":{{\r\n\t\"a\" :\n[ 1 ,\r2 ]\n}} }}\n",
            case.user("bob")
        );
        alice.send_text(spread).await?;
        assert_eq!(event(&mut bob).await?.0["body"], json!({"a": [1, 2]}));
        Ok(())
    }

    pub(super) async fn an_answer_comes_from_one_gateway_and_the_message_from_another(
        case: &Case,
        transport: Transport,
    ) -> Result<()> {
        let mut account = case.account("bob", 0);
        account.uplink = Some(case.gateway(1).to_owned());
        let mut bob = connect(transport, &account).await?;
        for seq in 1..=3 {
            let id = format!("own-{seq}");
            let (to, body) = (case.user("alice"), json!("up"));
            let sent = if is_two_way(transport) {
                let command = json!({"type": "send", "to": to, "body": body, "client_msg_id": id});
                case.http("bob", 1)?.command(&command).await?
            } else {
                bob.send(&to, body, &id).await?
            };
            assert_eq!((sent.number("seq"), sent.cursor()), (Some(seq), None));
            let own = event(&mut bob).await?;
            assert_eq!((own.kind(), own.number("seq")), ("message", Some(seq)));
            assert_eq!(own.text("client_msg_id"), Some(id.as_str()));
        }
        Ok(())
    }

    pub(super) async fn the_newest_session_of_a_device_wins(case: &Case, transport: Transport) -> Result<()> {
        if is_stream(transport) {
            let mut old = case.connect(transport, "bob", 0).await?;
            let mut new = case.connect(transport, "bob", 1).await?;
            let ending = end(&mut old).await?;
            assert_eq!((ending.reason(), ending.code), ("replaced", code(transport, 4409)));
            say_all(case, &mut case.http("alice", 0)?, 1..=1).await?;
            expect(&mut new, 1..=1).await?;
        }
        let mut old = case.connect(Transport::Sse, "carol", 1).await?;
        let mut new = case.connect(transport, "carol", 0).await?;
        if transport == Transport::ShortPoll {
            // Short polls have no session, and replace none.
            case.say(&mut case.http("alice", 0)?, "carol", json!("to both")).await?;
            expect(&mut new, 1..=1).await?;
            expect(&mut old, 1..=1).await?;
            case.say(&mut case.http("alice", 0)?, "carol", json!("to both")).await?;
            expect(&mut old, 2..=2).await?;
        } else {
            let ending = tokio::select! {
                ending = end(&mut old) => ending?,
                frame = new.next_frame() => anyhow::bail!("{frame:?} for the new one"),
            };
            assert_eq!(ending.reason(), "replaced");
        }
        Ok(())
    }

    pub(super) async fn a_session_ends_with_its_token(case: &Case, transport: Transport) -> Result<()> {
        let mut account = case.account("bob", 0);
        // The leeway is five seconds.
        let expired = SystemTime::now() - Duration::from_secs(3);
        account.token = issuer().token_until(&case.user("bob"), expired);
        let mut bob = connect(transport, &account).await?;
        if is_stream(transport) {
            let Ending { goaway, code: closed } = end(&mut bob).await?;
            let goaway = goaway.context("a goaway before the end")?;
            assert_eq!(goaway.text("reason"), Some("token_expired"));
            assert_eq!(goaway.number("reconnect_in_ms"), Some(0));
            assert_eq!(closed, code(transport, 4401));
        } else {
            // A poll that waits is told; one that comes later is refused.
            let last = match timeout(PATIENCE, bob.next_frame()).await? {
                Ok(frame) if transport != Transport::ShortPoll => {
                    assert_eq!(frame.text("reason"), Some("token_expired"), "{frame:?}");
                    assert_eq!(frame.number("reconnect_in_ms"), Some(0), "{frame:?}");
                    timeout(PATIENCE, bob.next_frame()).await?
                }
                other => other,
            };
            let told = matches!(&last, Err(Error::Closed(close)) if close.reason == "token_expired");
            let refused = matches!(&last, Err(Error::Refused(refusal))
                if (refusal.status, refusal.code.as_str()) == (401, "unauthorized"));
            assert!(told || refused, "{last:?}");
        }
        account.cursor = Some(bob.cursor().to_owned());
        // Tokens are compared in whole seconds: this one may not be over yet.
        wait::until_true(PATIENCE, "the expired token is refused", async || {
            let refused = Client::connect(transport, &account).await;
            matches!(refused, Err(Error::Refused(refusal)) if refusal.status == 401)
        })
        .await
    }

    pub(super) async fn a_reader_that_stops_holds_up_nobody_and_catches_up(
        case: &Case,
        transport: Transport,
    ) -> Result<()> {
        /// More than the sockets on the way (about 4 MiB) and the session's
        /// queue hold together.
        const MESSAGES: u64 = 500;
        let mut account = case.account("bob", 0);
        account.receive_buffer = Some(4096);
        let mut bob = connect(transport, &account).await?;
        let mut carol = case.connect(transport, "carol", 0).await?;
        let mut alice = case.connect(Transport::WebSocket, "alice", 1).await?;
        say_all(case, &mut case.http("alice", 1)?, 1..=1).await?;
        expect(&mut bob, 1..=1).await?;

        let body = "x".repeat(16 * 1024);
        let mut unanswered = 0;
        for seq in 2..=MESSAGES {
            alice.start(json!({"type": "send", "to": case.user("bob"), "body": body})).await?;
            unanswered += 1;
            while unanswered > 30 || (seq == MESSAGES && unanswered > 0) {
                let frame = timeout(PATIENCE, alice.next_frame()).await??;
                unanswered -= u32::from(frame.kind() == "sent");
            }
            if seq % 100 == 0 {
                alice.send(&case.user("carol"), json!("for you"), &format!("carol-{seq}")).await?;
                expect(&mut carol, seq / 100..=seq / 100).await?;
            }
        }
        expect(&mut bob, 2..=MESSAGES).await
    }
}

/// The close code where there is one.
fn code(transport: Transport, code: u16) -> Option<u16> {
    is_two_way(transport).then_some(code)
}

/// Messages from alice to bob that are to get these seqs.
async fn say_all(case: &Case, alice: &mut Http, seqs: std::ops::RangeInclusive<u64>) -> Result<()> {
    for seq in seqs {
        let sent = case.say(alice, "bob", Value::from(seq)).await?;
        assert_eq!(sent.number("seq"), Some(seq));
    }
    Ok(())
}
