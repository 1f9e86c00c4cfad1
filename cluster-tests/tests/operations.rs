//! What docs/RUNBOOKS.md has an operator do to Redis is done here: the blocks of its
//! section are taken from the document and run by a shell, on real servers, while
//! people write.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE, Person, Store, StoreKind, Talk};
use loadtest::history::Allowed;
use testbed::{RedisServer, wait};
use tokio::process::Command;

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const EVERY: Duration = Duration::from_millis(20);
/// The store is put back to an earlier moment, and says so.
const RESET: Allowed = Allowed { reset: true };
const STRICT: Allowed = Allowed { reset: false };

/// The block of docs/RUNBOOKS.md with this name behind its language.
fn block(name: &str) -> Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/RUNBOOKS.md");
    let text = std::fs::read_to_string(file)?;
    let begin = format!("```sh {name}\n");
    let (_, rest) = text.split_once(&begin).with_context(|| format!("no block `{name}`"))?;
    let (commands, _) = rest.split_once("```").context("a block ends")?;
    Ok(commands.to_owned())
}

/// Runs a block with these variables; each command must succeed.
async fn follow(name: &str, variables: &HashMap<&str, String>) -> Result<String> {
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &block(name)?])
        .envs(variables)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(Duration::from_secs(120), done).await.context("it takes too long")??;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(
        done.status.success(),
        "`{name}` of RUNBOOKS.md fails: {said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(said)
}

/// A server that a block has started; ended when this is dropped.
struct Started(String);

impl Drop for Started {
    fn drop(&mut self) {
        let arguments = ["-u", &self.0, "shutdown", "nosave"];
        let _ = std::process::Command::new("redis-cli").args(arguments).stderr(Stdio::null()).output();
    }
}

fn variables(server: &RedisServer, copy: &Path) -> HashMap<&'static str, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    HashMap::from([
        ("REDIS", server.url()),
        ("COPY", text(copy)),
        ("CONF", text(&server.folder().join("redis.conf"))),
        ("FOLDER", text(server.folder())),
    ])
}

async fn people(cluster: &Cluster) -> Result<Vec<Arc<Person>>> {
    let mut people = Vec::new();
    for (index, user) in USERS.iter().enumerate() {
        people.push(Arc::new(cluster.person(user, "d1", index).await?));
    }
    Ok(people)
}

fn all(people: &[Arc<Person>]) -> Vec<&Person> {
    people.iter().map(Arc::as_ref).collect()
}

/// Everybody says one more word, and has everything.
async fn settle(cluster: &mut Cluster, people: &[Arc<Person>], allowed: Allowed) -> Result<()> {
    for (index, person) in people.iter().enumerate() {
        person.say_to(people[(index + 1) % people.len()].user()).await?;
    }
    cluster.settle(&all(people), allowed).await?;
    Ok(())
}

#[tokio::test]
async fn a_redis_that_is_lost_begins_empty_and_everybody_is_told() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let moment = cluster.history.moment();
    let people = people(&cluster).await?;
    let talk = Talk::start(&people, &[], EVERY);
    cluster.progress(60).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    cluster.redis().lose()?;
    let known = variables(cluster.redis(), Path::new(""));
    follow("lost", &known).await?;
    let _started = Started(cluster.redis().url());
    cluster.history.forgotten_since(moment);
    for person in &people {
        person.until("told", |standing| !standing.resets.is_empty()).await?;
    }
    settle(&mut cluster, &people, RESET).await
}

#[tokio::test]
async fn a_redis_that_is_restored_from_a_copy_lacks_what_came_after_it_and_says_so() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let people = people(&cluster).await?;
    let groups = [cluster.group(&USERS).await?];
    let talk = Talk::start(&people, &groups, EVERY);
    cluster.progress(60).await?;
    let folder = tempfile::tempdir()?;
    let known = variables(cluster.redis(), &folder.path().join("copy.rdb"));
    // What is under way now may be in the copy or not.
    let moment = cluster.history.moment();
    let said = follow("copy", &known).await?;
    ensure!(said.contains("RDB looks OK"), "{said}");
    cluster.progress(60).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    cluster.redis().kill();
    follow("restored", &known).await?;
    let _started = Started(cluster.redis().url());
    cluster.history.forgotten_since(moment);
    for person in &people {
        person.until("told", |standing| !standing.resets.is_empty()).await?;
    }
    settle(&mut cluster, &people, RESET).await?;
    // It keeps a file again: what is written now is there after a crash.
    let kept = cluster.redis().info(&["INFO", "persistence"], "aof_enabled").await?;
    assert_eq!(kept.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test]
async fn a_redis_that_moves_to_another_host_loses_nothing_and_nobody_is_told_reset() -> Result<()> {
    let mut cluster = Cluster::builder().gateway_flags("--drain 10s").start().await?;
    let people = people(&cluster).await?;
    let groups = [cluster.group(&USERS).await?];
    let talk = Talk::start(&people, &groups, EVERY);
    cluster.progress(60).await?;
    let new = RedisServer::start().await?;
    let (old, there) = (cluster.redis().port(), new.port());
    let host = || "127.0.0.1".to_owned();
    let known = HashMap::from([
        ("OLD", cluster.redis().url()),
        ("OLD_HOST", host()),
        ("OLD_PORT", old.to_string()),
        ("NEW", new.url()),
        ("NEW_HOST", host()),
        ("NEW_PORT", there.to_string()),
    ]);
    follow("moved", &known).await?;
    let (from, to) = (format!("127.0.0.1:{old}"), format!("127.0.0.1:{there}"));
    for index in 0..2 {
        let router = cluster.router_node(index);
        router.redirect(&from, &to);
        router.process()?.terminate()?;
        router.process()?.ended(PATIENCE).await?;
        router.restart().await?;
    }
    for index in 0..2 {
        let gateway = cluster.gateway_node(index);
        gateway.redirect(&from, &to);
        gateway.process()?.terminate()?;
        gateway.process()?.ended(PATIENCE).await?;
        gateway.restart().await?;
    }
    follow("moved-away", &known).await?;
    cluster.progress(60).await?;
    talk.stop().await?;
    settle(&mut cluster, &people, STRICT).await?;
    for person in &people {
        assert!(person.standing().resets.is_empty(), "{person}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_resharded_onto_one_more_primary_loses_nothing() -> Result<()> {
    let mut cluster = Cluster::builder().store(StoreKind::Cluster).start().await?;
    let people = people(&cluster).await?;
    // Their keys are in slots by chance: of so many some are moved.
    let mut groups = Vec::new();
    for _ in 0..24 {
        groups.push(cluster.group(&USERS).await?);
    }
    let talk = Talk::start(&people, &groups, EVERY);
    cluster.progress(60).await?;
    let Store::Many(servers) = &mut cluster.store else { unreachable!("it was asked for") };
    let added = servers.empty_server().await?;
    let existing = servers.primaries()[0].port();
    let known = HashMap::from([
        ("EXISTING", format!("127.0.0.1:{existing}")),
        ("ADDED", format!("127.0.0.1:{}", added.port())),
    ]);
    let said = follow("resharded", &known).await?;
    ensure!(said.contains("[OK] All 16384 slots covered"), "{said}");
    wait::until_true(PATIENCE, "the new server has slots with keys", async || {
        let size = added.command(&["DBSIZE"]).await;
        size.is_ok_and(|size| size.integer().unwrap_or_default() > 0)
    })
    .await?;
    cluster.progress(60).await?;
    talk.stop().await?;
    settle(&mut cluster, &people, STRICT).await
}
