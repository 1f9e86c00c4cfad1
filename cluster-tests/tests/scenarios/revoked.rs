//! Tokens are revoked while a gateway hears nothing, or before a router dies.

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Between, Cluster, PATIENCE};
use http::Method;
use loadtest::client::http::Http;
use loadtest::client::{Account, Client};
use loadtest::fleet::Fleet;
use rstest::rstest;
use serde_json::{Value, json};
use testbed::{FaultProxy, wait};
use tokio::time::{Instant, timeout};

/// What a gateway answers whoever brings this account's token: the status, and the
/// message of a refusal.
async fn answer(account: &Account) -> Result<(u16, String)> {
    let asked = async { Http::new(account)?.request(Method::GET, "/v1/conversations", None).await };
    let answer = timeout(PATIENCE, asked).await.context("the gateway answers")??;
    let body: Value = serde_json::from_slice(&answer.body)?;
    Ok((answer.status, body["message"].as_str().unwrap_or_default().to_owned()))
}

/// Waits until a gateway answers so.
async fn until(account: &Account, status: u16, message: &str) -> Result<()> {
    let what = format!("{status} {message}");
    let waited = wait::until_true(PATIENCE, &what, async || {
        answer(account).await.is_ok_and(|answer| answer == (status, message.to_owned()))
    });
    waited.await.with_context(|| format!("of {}", account.gateway))
}

async fn until_refused(account: &Account) -> Result<()> {
    until(account, 401, "the token has been revoked").await
}

async fn revoke(cluster: &Cluster, user: &str, gateway: usize) -> Result<()> {
    let token = Fleet::issuer().token_with_scope("backend", "service");
    let mut backend = Http::new(&Account::new(cluster.gateway(gateway), &token, "none"))?;
    backend.command(&json!({"type": "revoke", "user": user})).await?;
    Ok(())
}

/// What `/readyz` says of a gateway that is not ready.
async fn not_ready(admin: &str) -> Result<String> {
    let mut http = Http::new(&Account::new(admin, "", "none"))?;
    let answer = http.request(Method::GET, "/readyz", None).await?;
    ensure!(answer.status == 503, "it is ready");
    Ok(String::from_utf8(answer.body.to_vec())?)
}

/// The last `reason` that a session is told before it ends.
async fn reason(session: &mut Client) -> Result<String> {
    Ok(timeout(PATIENCE, session.until_end()).await.context("the session goes on")?.0)
}

fn refuse_and_cut(way: &FaultProxy) {
    way.refuse();
    way.cut();
}

/// Cut off so that it notices, or so that nothing comes and everything stays open.
#[rstest]
#[case::connections_are_refused(refuse_and_cut)]
#[case::nothing_is_forwarded(FaultProxy::hold)]
#[tokio::test]
async fn a_gateway_that_was_cut_off_believes_nobody_and_refuses_what_was_revoked_meanwhile(
    #[case] cut_off: fn(&FaultProxy),
) -> Result<()> {
    let mut cluster = Cluster::builder().ways().start().await?;
    let [there, elsewhere] = [0, 1].map(|gateway| cluster.account("alice", "d1", gateway));
    let bob = cluster.account("bob", "d1", 0);
    let mut session = cluster.connect("alice", "phone", 0).await?;
    let mut other = cluster.connect("bob", "phone", 0).await?;
    let cut = [Between::GatewayAndRouters(0), Between::GatewayAndStore(0)];
    for way in cut.into_iter().flat_map(|between| cluster.ways().of(between)) {
        cut_off(way);
    }
    revoke(&cluster, "alice", 1).await?;
    until_refused(&elsewhere).await?;
    // Nobody at all is believed by who cannot know.
    let unknown = "which tokens were revoked is not known at the moment";
    let waited = until(&bob, 503, unknown).await;
    waited.with_context(|| cluster.outputs())?;
    let admin = cluster.gateway_node(0).admin_url();
    let says_why = wait::until_true(PATIENCE, "/readyz says why", async || {
        not_ready(&admin).await.is_ok_and(|why| why.contains("which tokens were revoked is not known"))
    });
    says_why.await.with_context(|| cluster.outputs())?;
    for way in cut.into_iter().flat_map(|between| cluster.ways().of(between)) {
        way.heal();
    }
    let waited = until_refused(&there).await;
    waited.with_context(|| cluster.outputs())?;
    assert_eq!(reason(&mut session).await?, "revoked");
    assert_eq!(answer(&bob).await?.0, 200);
    // Bob's session has outlived all of it.
    timeout(PATIENCE, other.command(json!({"type": "ping"}))).await??;
    Ok(())
}

#[tokio::test]
async fn a_fresh_gateway_learns_from_a_router_what_another_had_written() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let [alice, bob] = ["alice", "bob"].map(|user| cluster.account(user, "d1", 1));
    until(&alice, 200, "").await?;
    // So that it is the first router that writes.
    cluster.router_node(1).kill();
    revoke(&cluster, "alice", 0).await?;
    cluster.router_node(1).restart().await?;
    cluster.router_node(0).kill();
    cluster.gateway_node(1).restart().await?;
    assert_eq!(answer(&alice).await?, (401, "the token has been revoked".to_owned()));
    assert_eq!(answer(&bob).await?.0, 200);
    Ok(())
}

/// How many fields the hash with all revocations has.
async fn stored(cluster: &mut Cluster) -> Result<i64> {
    let reply = cluster.redis().command(&["HLEN", "{sb}revoked"]).await?;
    reply.integer().context("a number of fields")
}

/// As a failover to an empty server does, or to a replica that was behind.
#[rstest]
#[case::everything(true)]
#[case::its_last_writes(false)]
#[tokio::test]
async fn gateways_give_back_the_revocations_that_the_store_has_lost(#[case] everything: bool) -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let [alice, bob] = ["alice", "bob"].map(|user| cluster.account(user, "d1", 0));
    let elsewhere = cluster.account("alice", "d1", 1);
    until(&alice, 200, "").await?;
    let copy = cluster.redis().copy_data().await?;
    revoke(&cluster, "alice", 0).await?;
    until_refused(&alice).await?;
    // What it has heard cannot be given back by this one.
    cluster.gateway_node(1).kill();
    if everything {
        cluster.redis().lose()?;
        cluster.redis().restart().await?;
    } else {
        cluster.redis().put_back(&copy).await?;
    }
    assert_eq!(stored(&mut cluster).await?, 0);
    let end = Instant::now() + PATIENCE;
    while stored(&mut cluster).await? == 0 {
        let (status, message) = answer(&alice).await?;
        ensure!(matches!(status, 401 | 503), "{status} {message}");
        ensure!(Instant::now() < end, "it is not given back:\n{}", cluster.outputs());
    }
    cluster.gateway_node(1).restart().await?;
    assert_eq!(answer(&elsewhere).await?, (401, "the token has been revoked".to_owned()));
    until_refused(&alice).await?;
    until(&bob, 200, "").await
}
