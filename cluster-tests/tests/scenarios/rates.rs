//! What one user may do, over all gateways together, and what a refusal means
//! for what was under way behind it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_tests::{Cluster, PATIENCE};
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Transport};
use loadtest::fleet::Fleet;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// Does a command so many times at each gateway, by turns; gives how often it
/// was done, and for how long that went on.
async fn flood(
    cluster: &Cluster,
    user: &str,
    times: usize,
    command: impl Fn(usize) -> Value,
) -> Result<(usize, Duration)> {
    let begun = Instant::now();
    let mut done = 0;
    let mut ways = [Http::new(&cluster.account(user, "d1", 0))?, Http::new(&cluster.account(user, "d2", 1))?];
    for turn in 0..times {
        for way in &mut ways {
            match timeout(PATIENCE, way.command(&command(turn))).await? {
                Ok(_) => done += 1,
                Err(error) if error.code() == Some("rate_limited") => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok((done, begun.elapsed()))
}

#[tokio::test]
async fn a_limit_is_one_for_all_gateways() -> Result<()> {
    let cluster = Cluster::builder().gateway_flags("--messages-per-second 5").start().await?;
    let message = |_| json!({"type": "send", "to": "bob", "body": 1});
    let (done, time) = flood(&cluster, "alice", 60, message).await?;
    // A burst of 20, what came back, and an eighth of a burst at each gateway.
    let most = 20.0 + 5.0 * time.as_secs_f64() + 2.0 * 2.5 + 1.0;
    assert!((20.0..=most).contains(&(done as f64)), "{done} in {time:?}");
    let (others, _) = flood(&cluster, "carol", 10, message).await?;
    assert_eq!(others, 20, "nobody else is meant");
    Ok(())
}

#[tokio::test]
async fn nobody_makes_thousands_of_groups_with_a_stranger() -> Result<()> {
    let cluster = Cluster::builder().gateway_flags("--invites-per-minute 30").start().await?;
    let group = |n| json!({"type": "create_group", "name": format!("g{n}"), "members": ["stranger"]});
    let (made, time) = flood(&cluster, "alice", 300, group).await?;
    let most = 30.0 + 0.5 * time.as_secs_f64() + 2.0 + 1.0;
    assert!((30.0..=most).contains(&(made as f64)), "{made} in {time:?}");
    Ok(())
}

#[tokio::test]
async fn a_backend_that_sends_as_itself_is_not_held_to_a_users_limit() -> Result<()> {
    let flags = "--messages-per-second 1 --attaches-per-second 1 --service-requests-per-second 2000";
    let cluster = Cluster::builder().gateway_flags(flags).start().await?;
    let token = Fleet::issuer().token_with_scope("backend", "service");
    let account = Account::new(cluster.gateway(0), &token, "d1");
    let mut backend = Client::connect(Transport::WebSocket, &account).await?;
    for n in 0..500 {
        let user = format!("user{}", n % 50);
        backend.start(json!({"type": "send", "to": user, "body": n})).await?;
    }
    let mut sent = 0;
    while sent < 500 {
        let frame = timeout(PATIENCE, backend.next_frame()).await.context("an answer")??;
        assert_ne!(frame.kind(), "error", "{frame:?} after {sent}");
        sent += usize::from(frame.kind() == "sent");
    }
    Ok(())
}

/// Sends what is left of a queue in order, and waits for all answers: how many
/// were taken, and how long to wait if some were not.
async fn flush(client: &mut Client, queue: &[u64]) -> Result<(Vec<u64>, Duration)> {
    let mut under_way = std::collections::BTreeMap::new();
    for body in queue {
        under_way.insert(client.start(json!({"type": "send", "to": "bob", "body": body})).await?, *body);
    }
    let (mut taken, mut wait) = (Vec::new(), Duration::ZERO);
    while !under_way.is_empty() {
        let frame = timeout(PATIENCE, client.next_frame()).await.context("an answer")??;
        let Some(body) = frame.answers().and_then(|reference| under_way.remove(&reference)) else { continue };
        if frame.kind() == "sent" {
            taken.push(body);
        } else {
            assert_eq!(frame.text("code"), Some("rate_limited"), "{frame:?}");
            let asked = frame.number("retry_after_ms").context("it says how long")?;
            wait = wait.max(Duration::from_millis(asked));
        }
    }
    Ok((taken, wait))
}

#[tokio::test]
async fn a_queue_that_is_flushed_beyond_the_limit_keeps_its_order() -> Result<()> {
    let cluster = Cluster::builder().gateway_flags("--messages-per-second 20").start().await?;
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    let mut queue: Vec<u64> = (0..150).collect();
    let mut flushes = 0;
    while !queue.is_empty() {
        let (taken, wait) = flush(&mut alice, &queue).await?;
        // Nothing overtakes what was refused before it.
        assert_eq!(taken, queue[..taken.len()], "flush {flushes}");
        queue.drain(..taken.len());
        flushes += 1;
        // As it was told.
        sleep(wait).await;
    }
    assert!(flushes > 1, "nothing was refused");
    let mut http = Http::new(&cluster.account("bob", "d1", 1))?;
    let read = json!({"type": "history", "conversation": "alice~bob", "limit": 200});
    let history = http.command(&read).await?;
    let messages = history.0["messages"].as_array().context("a list")?;
    let bodies: Vec<u64> = messages.iter().filter_map(|message| message["body"].as_u64()).collect();
    assert_eq!(bodies, (0..150).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn limits_hold_and_nobody_is_stuck_while_a_router_that_counts_stands_still() -> Result<()> {
    let mut cluster = Cluster::builder().gateway_flags("--messages-per-second 5").start().await?;
    // Whichever router counts for whom: with eight users each has some.
    cluster.router_node(0).process()?.stop()?;
    for n in 0..8 {
        let message = |_| json!({"type": "send", "to": "bob", "body": 1});
        let (done, time) = flood(&cluster, &format!("user{n}"), 30, message).await?;
        let most = 2.0 * (20.0 + 5.0 * time.as_secs_f64() + 2.5 + 1.0);
        assert!((20.0..=most).contains(&(done as f64)), "{done} in {time:?}");
    }
    cluster.router_node(0).process()?.cont()?;
    Ok(())
}
