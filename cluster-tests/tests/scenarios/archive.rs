//! Old messages go to an archive while people talk: routers die between copying and
//! trimming, the archive goes away and comes back, and nobody notices.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE, Talk};
use loadtest::client::http::Http;
use serde_json::json;
use testbed::{PostgresServer, wait};

use crate::{STRICT, all, people};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const EVERY: Duration = Duration::from_millis(10);

#[tokio::test]
async fn nothing_is_lost_or_repeated_while_messages_leave_memory() -> Result<()> {
    let mut postgres = PostgresServer::start().await?;
    let flags = format!("--archive {} --archive-after 1s", postgres.url());
    let mut cluster = Cluster::builder().router_flags(&flags).start().await?;
    let people = people(&cluster, &USERS).await?;
    let group = cluster.group(&USERS).await?;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let talk = Talk::seeded(&people, &[group], EVERY, 0.1, seed);
    let flags = ["--fail-at", "copied"];
    for router in [0, 1] {
        let node = cluster.router_node(router);
        node.set_flags(&flags);
        node.restart().await?;
        let status = node.process()?.ended(PATIENCE).await?;
        ensure!(!status.success(), "it was to crash: {status}");
        node.unset_flags(&flags);
        node.restart().await?;
        cluster.progress(30).await?;
    }
    postgres.end().await?;
    cluster.progress(100).await?;
    postgres.restart().await?;
    cluster.progress(30).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    wait::until(PATIENCE, "everything is archived but the newest messages", async || {
        let mut waiting = 0;
        for server in cluster.redis_servers() {
            waiting += server.command(&["KEYS", "{*}g"]).await.ok()?.items().len();
        }
        (waiting == 0).then_some(())
    })
    .await?;
    for (conversation, sent) in cluster.history.acknowledged_by_conversation() {
        let member = conversation.split_once('~').map_or(USERS[0], |(one, _)| one);
        let mut kept = whole(&cluster, member, &conversation).await?;
        let mut sent = sent;
        kept.sort();
        sent.sort();
        ensure!(kept == sent, "{conversation} has {} messages of {}", kept.len(), sent.len());
    }
    let copied = postgres.run("SELECT count(*) FROM switchboard_entries WHERE kind = 0")?;
    ensure!(copied.parse::<usize>()? > 100, "only {copied} messages were archived");
    Ok(())
}

/// The ids of all messages of a conversation, in their order.
pub(crate) async fn whole(cluster: &Cluster, member: &str, conversation: &str) -> Result<Vec<String>> {
    let mut http = Http::new(&cluster.account(member, "reader", 0))?;
    let (mut after, mut ids) = (0, Vec::new());
    loop {
        let command = json!({"type": "history", "conversation": conversation, "after": after, "limit": 200});
        let page = http.command(&command).await?;
        for message in page.0["messages"].as_array().context("a page of messages")? {
            after += 1;
            ensure!(message["seq"].as_u64() == Some(after), "a hole at {after} of {conversation}");
            ids.push(message["client_msg_id"].as_str().context("an id")?.to_owned());
        }
        if page.0["more"].as_bool() != Some(true) {
            return Ok(ids);
        }
    }
}
