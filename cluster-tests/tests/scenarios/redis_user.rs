//! Routers and gateways need no more rights at Redis than `deploy/redis/users.acl`
//! gives, and need each of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, StoreKind, Talk};
use loadtest::client::http::Http;
use rstest::rstest;
use serde_json::json;

use crate::{STRICT, all, people};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const EVERY: Duration = Duration::from_millis(20);

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What the user of that name may do, as words of `ACL SETUSER`.
fn rights() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file("deploy/redis/users.acl"))?;
    let words = text.trim().strip_prefix("user switchboard ").context("one user")?;
    Ok(words.split(' ').map(str::to_owned).collect())
}

/// The commands that it lists, in small letters.
fn commands() -> Result<BTreeSet<String>> {
    let rights = rights()?;
    let commands: BTreeSet<String> =
        rights.iter().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect();
    ensure!(!commands.is_empty() && !rights.iter().any(|word| word.starts_with("+@")), "{rights:?}");
    Ok(commands)
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[case::cluster(StoreKind::Cluster)]
#[tokio::test]
async fn everything_runs_with_the_rights_of_the_file(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).redis_user(rights()?).start().await?;
    let people = people(&cluster, &USERS).await?;
    let group = cluster.group(&USERS).await?;
    let talk = Talk::start(&people, std::slice::from_ref(&group), EVERY);
    cluster.progress(100).await?;
    cluster.gateway_node(0).restart().await?;
    cluster.router_node(0).restart().await?;
    cluster.progress(100).await?;
    talk.stop().await?;

    let mut alice = Http::new(&cluster.account("alice", "h1", 1))?;
    for command in [
        json!({"type": "presence", "users": ["bob", "nobody"]}),
        json!({"type": "history", "conversation": group}),
        json!({"type": "conversations"}),
        json!({"type": "members", "conversation": group}),
        json!({"type": "react", "conversation": group, "seq": 1, "emoji": "x", "on": true}),
        json!({"type": "rename", "conversation": group, "name": "other"}),
    ] {
        alice.command(&command).await.with_context(|| command.to_string())?;
    }
    for server in cluster.redis_servers() {
        let denied = server.command(&["ACL", "LOG"]).await?;
        ensure!(denied.items().is_empty(), "{denied:?}");
    }
    cluster.settle(&all(&people), STRICT).await?;
    Ok(())
}

/// Texts of the store's sources and scripts, in small letters.
fn sources(folder: &Path) -> Result<String> {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            text += &sources(&path)?;
        } else if path.extension().is_some_and(|of| of == "lua" || of == "rs") {
            text += &std::fs::read_to_string(&path)?.to_lowercase();
        }
    }
    Ok(text)
}

#[test]
fn no_right_is_left_over() -> Result<()> {
    // What the client library asks by itself, when it connects.
    const LIBRARY: [&str; 3] = ["client|id", "cluster|info", "cluster|slots"];
    let text = sources(&file("store/src/redis"))?;
    let is_used = |command: &str| {
        let named = [format!("call('{command}'"), format!("\"{command}\""), format!(".{command}(")];
        LIBRARY.contains(&command)
            || named.iter().any(|form| text.contains(form))
            || text.contains(&format!(".{command}::<"))
    };
    let unused: Vec<String> = commands()?.into_iter().filter(|command| !is_used(command)).collect();
    assert!(unused.is_empty(), "{unused:?}");
    // And each command of a script is in the list.
    let commands = commands()?;
    for (at, _) in text.match_indices("call('") {
        let name = text[at + 6..].split('\'').next().unwrap_or_default();
        assert!(commands.contains(name), "a script calls {name}");
    }
    Ok(())
}
