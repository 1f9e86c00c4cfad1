//! A router stands still, and goes on: neither dead nor well.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_tests::{Cluster, PATIENCE, StoreKind, Talk};
use http::Method;
use loadtest::client::Account;
use loadtest::client::http::Http;
use rstest::rstest;
use testbed::wait;

use crate::{people, settle_without_a_break};

/// So many that each of two routers has some.
const USERS: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
const EVERY: Duration = Duration::from_millis(10);

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn a_router_that_stands_still_is_taken_out_and_used_again(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    for router in [0, 1] {
        cluster.progress(50).await?;
        cluster.router_node(router).process()?.stop()?;
        // A gateway none of whose users are with that router does not notice.
        late_routers(&mut cluster, |late| late.contains(&1)).await?;
        cluster.progress(50).await?;
        cluster.router_node(router).process()?.cont()?;
        late_routers(&mut cluster, |late| late == [0, 0]).await?;
    }
    cluster.progress(50).await?;
    talk.stop().await?;
    settle_without_a_break(&mut cluster, &people).await
}

/// Waits until what the gateways say of late routers is so.
async fn late_routers(cluster: &mut Cluster, is_so: impl Fn(&[u64]) -> bool) -> Result<()> {
    let admins = [0, 1].map(|gateway| cluster.gateway_node(gateway).admin_url());
    let waited = wait::until_true(PATIENCE, "a router is late, or none is any more", async || {
        let mut late = Vec::new();
        for admin in &admins {
            late.extend(late_of(admin).await.ok());
        }
        is_so(&late)
    });
    waited.await.with_context(|| cluster.outputs())
}

async fn late_of(admin: &str) -> Result<u64> {
    let answer = Http::new(&Account::new(admin, "", "none"))?.request(Method::GET, "/metrics", None).await?;
    let text = String::from_utf8(answer.body.to_vec())?;
    let line = text.lines().find(|line| line.starts_with("switchboard_gateway_routers_late"));
    let number = line.and_then(|line| line.rsplit(' ').next()).context("the metric is there")?;
    Ok(number.parse()?)
}
