//! Why sessions end, as transports that pull are told it, and two programs with
//! one device that do not listen. With clusters of their own, so that what is
//! counted is only theirs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE};
use futures_util::future::try_join;
use http::Method;
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Error, Frame, Lines, Transport};
use loadtest::fleet::Fleet;
use rstest::rstest;
use serde_json::{Value, json};
use testbed::wait;
use tokio::time::{Instant, timeout};

use crate::case::{connect, connections, poll, say};

/// For how long two programs do not listen.
const LONG: Duration = Duration::from_secs(6);

/// Begins sessions of a device, again as soon as one is sent away, whatever it
/// is told; gives how many.
async fn stubborn(transport: Transport, account: Account) -> Result<usize> {
    let until = Instant::now() + LONG;
    let mut count = 0;
    while Instant::now() < until {
        count += 1;
        let mut client = connect(transport, &account).await?;
        // Sooner than the connection is closed.
        let told = async { while client.next_frame().await.is_ok_and(|frame| frame.kind() != "goaway") {} };
        // A session that is never sent away is fine, too.
        let _ = timeout(LONG, told).await;
    }
    Ok(count)
}

/// Without the receipts that come with them.
fn messages(events: &[Frame]) -> impl Iterator<Item = &Frame> {
    events.iter().filter(|frame| frame.kind() == "message")
}

#[rstest]
#[case::polls(Transport::LongPoll)]
#[case::web_sockets(Transport::WebSocket)]
#[case::event_sources(Transport::Sse)]
#[tokio::test]
async fn two_programs_that_do_not_listen_attach_once_a_second_together(
    #[case] transport: Transport,
) -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    // On one node, and on two.
    for (user, other) in [("bob", 0), ("carol", 1)] {
        let (one, two) = (cluster.account(user, "d1", 0), cluster.account(user, "d1", other));
        let (one, two) = try_join(stubborn(transport, one), stubborn(transport, two)).await?;
        ensure!(one + two <= LONG.as_secs() as usize + 2, "{one} and {two} sessions of {user}");
    }
    Ok(())
}

#[tokio::test]
async fn a_program_that_changes_its_own_node_is_served_at_once_and_told_nothing() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut polls =
        [Http::new(&cluster.account("bob", "d1", 0))?, Http::new(&cluster.account("bob", "d1", 1))?];
    let (_, mut cursor) = poll(&mut polls[0], "device=d1").await?;
    let mut alice = Http::new(&cluster.account("alice", "d1", 0))?;
    // As through a balancer: every poll replaces the session of the one before.
    for count in 0..20 {
        say(&mut alice, "bob", json!(count)).await?;
        let query = format!("device=d1&wait=20&cursor={cursor}");
        let (events, after) = poll(&mut polls[count % 2], &query).await?;
        let bodies: Vec<&Value> = messages(&events).map(|frame| &frame.0["body"]).collect();
        assert_eq!(bodies, [&json!(count)]);
        cursor = after;
    }
    Ok(())
}

#[tokio::test]
async fn a_kick_reaches_a_poll_that_waits_and_the_one_after_it() -> Result<()> {
    let mut cluster = Cluster::builder().gateways(1).routers(1).start().await?;
    let admin = cluster.gateway_node(0).admin_url();
    let token = Fleet::issuer().token_with_scope("backend", "service");
    let mut backend = Http::new(&Account::new(cluster.gateway(0), &token, "b"))?;
    let mut bob = Http::new(&cluster.account("bob", "d1", 0))?;
    let (_, cursor) = poll(&mut bob, "device=d1").await?;
    let query = format!("device=d1&wait=20&cursor={cursor}");
    let kick = async {
        wait::until_true(PATIENCE, "the poll waits", async || {
            connections(&admin, "poll").await.is_ok_and(|count| count == 1)
        })
        .await?;
        backend.command(&json!({"type": "kick", "user": "bob"})).await?;
        anyhow::Ok(())
    };
    let ((events, after), ()) = try_join(poll(&mut bob, &query), kick).await?;
    assert_eq!(told(&events), [json!({"type": "goaway", "reason": "kicked"})]);
    assert_eq!(after, cursor);

    // One that has just been answered.
    say(&mut Http::new(&cluster.account("alice", "d1", 0))?, "bob", json!("hi")).await?;
    let (events, after) = poll(&mut bob, &query).await?;
    assert_eq!(messages(&events).count(), 1);
    backend.command(&json!({"type": "kick", "user": "bob"})).await?;
    let query = format!("device=d1&wait=20&cursor={after}");
    let told_at_once = wait::until(PATIENCE, "the next poll is told", async || {
        let (events, now) = poll(&mut bob, &format!("{query}&limit=1")).await.ok()?;
        Some((told(&events), now))
    })
    .await?;
    assert_eq!(told_at_once, (vec![json!({"type": "goaway", "reason": "kicked"})], after));
    Ok(())
}

fn told(events: &[loadtest::client::Frame]) -> Vec<Value> {
    events.iter().map(|frame| frame.0.clone()).collect()
}

#[tokio::test]
async fn an_event_source_is_told_by_retry() -> Result<()> {
    let mut cluster = Cluster::builder().gateways(1).routers(1).gateway_flags("--drain 4s").start().await?;
    let account = cluster.account("bob", "d1", 0);
    let mut old = Lines::open(&account, "/v1/sse?device=d1", &[]).await?;
    let mut new = Lines::open(&account, "/v1/sse?device=d1", &[]).await?;
    // A day: there is no way to say never.
    let (retry, goaway, last) = goodbye(&mut old).await?;
    assert_eq!((retry, last), (86_400_000, None));
    assert_eq!(goaway, json!({"type": "goaway", "reason": "replaced"}));
    cluster.gateway_node(0).process()?.terminate()?;
    let (retry, goaway, last) = goodbye(&mut new).await?;
    assert_eq!(goaway["reason"], "shutdown");
    assert_eq!(goaway["reconnect_in_ms"].as_u64(), Some(retry));
    // Over, when the time has passed: another node takes it at once.
    assert!(last.is_some_and(|last| last < retry.max(100)), "{last:?} after {retry}");
    Ok(())
}

/// The `retry` of the last event, that event, and the `retry` behind it.
async fn goodbye(lines: &mut Lines) -> Result<(u64, Value, Option<u64>)> {
    let (mut retry, mut goaway, mut last) = (None, None, None);
    loop {
        match timeout(PATIENCE, lines.next()).await.context("the stream goes on")? {
            Ok(line) => {
                let number = line.strip_prefix("retry: ").map(str::parse).transpose()?;
                match (&goaway, line.strip_prefix("data: ")) {
                    (None, None) => retry = number.or(retry),
                    (None, Some(data)) if data.contains("goaway") => {
                        goaway = Some(serde_json::from_str(data)?)
                    }
                    (Some(_), None) => last = number.or(last),
                    _ => {}
                }
            }
            Err(Error::Closed(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((retry.context("a retry")?, goaway.context("a goaway")?, last))
}

#[tokio::test]
async fn an_event_source_survives_a_gateway_without_routers() -> Result<()> {
    let mut cluster = Cluster::builder().gateways(1).routers(1).start().await?;
    cluster.router_node(0).kill();
    let account = cluster.account("bob", "d1", 0);
    wait::until_true(PATIENCE, "a stream is refused", async || {
        let refused = Client::connect(Transport::Stream, &account).await;
        matches!(refused, Err(Error::Refused(refusal)) if refusal.status == 503)
    })
    .await?;
    let mut http = Http::new(&account)?;
    let answer = http.request(Method::GET, "/v1/sse?device=d1", None).await?;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"text/event-stream".parse()?));
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let text = String::from_utf8(answer.body.to_vec())?;
    let retry = text.lines().find_map(|line| line.strip_prefix("retry: ")).context("a retry")?;
    assert!((1_000..10_000).contains(&retry.parse::<u64>()?), "{text}");
    assert!(!text.contains("event:") && !text.contains("data:"), "{text}");
    // What does not pass by itself stays what it is.
    let mut stranger = Http::new(&Account::new(cluster.gateway(0), "nonsense", "d1"))?;
    assert_eq!(stranger.request(Method::GET, "/v1/sse", None).await?.status, 401);
    // And it comes back when there is a router again.
    cluster.router_node(0).restart().await?;
    wait::until_true(PATIENCE, "the stream opens", async || {
        Client::connect(Transport::Sse, &account).await.is_ok()
    })
    .await?;
    for query in ["device=a%20b", "cursor=x"] {
        let answer = http.request(Method::GET, &format!("/v1/sse?{query}"), None).await?;
        assert_eq!(answer.status, 400, "{query}");
    }
    Ok(())
}
