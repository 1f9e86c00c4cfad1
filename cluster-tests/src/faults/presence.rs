//! Who is there: a ghost whose gateway dies is offline in time, and nobody is
//! called offline who is there. And which processes say that they are not ready.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use loadtest::client::http::Http;
use loadtest::client::{Account, Client};
use testbed::wait;
use tokio::time::Instant;

use super::Part;
use crate::{Cluster, PATIENCE, Person};

/// PROTOCOL.md §5: within so much of its gateway's death a user is offline.
const GHOST: Duration = Duration::from_secs(15);
/// A process that cannot deliver says so within this time.
const RED: Duration = Duration::from_secs(5);

/// Somebody with one connection, to the first gateway, who never comes back.
#[derive(Debug)]
pub(super) struct Ghost {
    user: String,
    _client: Client,
}

impl Ghost {
    /// Connects it, and waits until the watcher is told that it is there. The
    /// watcher watches all of `people`, too.
    pub(super) async fn enter(cluster: &Cluster, watcher: &Person, people: &[Arc<Person>]) -> Result<Self> {
        let user = "ghost".to_owned();
        let client = cluster.connect(&user, "d1", 0).await?;
        let users: Vec<&str> = present(people).map(|person| person.user()).chain([user.as_str()]).collect();
        watcher.watch(&users).await?;
        watcher
            .until("told of the ghost", |standing| is_online(&standing.seen_online, &user) == Some(true))
            .await?;
        Ok(Self { user, _client: client })
    }

    /// Waits until the watcher is told that it has gone; fails when that is later
    /// than promised, or when the watcher then takes somebody for offline who is
    /// there.
    pub(super) async fn has_gone(
        &self,
        since: Instant,
        watcher: &Person,
        people: &[Arc<Person>],
    ) -> Result<()> {
        watcher
            .until("told that the ghost has gone", |standing| {
                is_online(&standing.seen_online, &self.user) == Some(false)
            })
            .await?;
        let after = since.elapsed();
        ensure!(after <= GHOST, "the ghost was online for {after:?} after its gateway had died");
        watcher
            .until("told that everybody else is there", |standing| {
                present(people).all(|person| is_online(&standing.seen_online, person.user()) == Some(true))
            })
            .await
    }
}

/// Those who have a session: a poll that does not wait opens none.
fn present(people: &[Arc<Person>]) -> impl Iterator<Item = &Arc<Person>> {
    people.iter().filter(|person| !person.user().starts_with("short-poll"))
}

/// What was said last of a user.
fn is_online(told: &[(String, bool)], user: &str) -> Option<bool> {
    told.iter().rev().find(|(told, _)| told == user).map(|(_, online)| *online)
}

/// Waits until these processes say that they are not ready; fails when one does so
/// only later than promised.
pub(super) async fn red(cluster: &mut Cluster, parts: &[Part], since: Instant) -> Result<()> {
    for part in parts {
        until_ready(cluster, *part, false).await?;
        let after = since.elapsed();
        ensure!(after <= RED, "{part:?} called itself ready for {after:?} when it could not deliver");
    }
    Ok(())
}

/// Waits until these processes say that they are ready.
pub(super) async fn green(cluster: &mut Cluster, parts: &[Part]) -> Result<()> {
    for part in parts {
        until_ready(cluster, *part, true).await?;
    }
    Ok(())
}

async fn until_ready(cluster: &mut Cluster, part: Part, ready: bool) -> Result<()> {
    let url = match part {
        Part::Gateway(index) => cluster.gateway_node(index).admin_url(),
        Part::Router(index) => cluster.router_node(index).admin_url(),
        Part::Redis => return Ok(()),
    };
    let what = if ready { "it is ready" } else { "it is not ready" };
    wait::until_true(PATIENCE, what, async || {
        let Ok(mut http) = Http::new(&Account::new(&url, "", "none")) else { return false };
        let answer = http.request(Method::GET, "/readyz", None).await;
        answer.is_ok_and(|answer| (answer.status == 200) == ready)
    })
    .await
    .with_context(|| format!("{part:?}"))
}
