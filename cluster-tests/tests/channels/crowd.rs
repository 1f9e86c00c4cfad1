//! Many subscribers on one node.

use anyhow::Result;
use cluster_tests::Cluster;
use futures_util::future::try_join_all;

use crate::scene::{Publisher, expect, subscriber};

const CROWD: usize = 1_000;
/// Handshakes at a time.
const AT_ONCE: usize = 50;

#[tokio::test]
async fn a_thousand_subscribers_on_one_node_get_each_publication_once() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let names: Vec<_> = (0..CROWD).map(|index| format!("u{index}")).collect();
    let mut crowd = Vec::with_capacity(CROWD);
    for users in names.chunks(AT_ONCE) {
        crowd.extend(try_join_all(users.iter().map(|user| subscriber(&cluster, user, "c_news", 0))).await?);
    }
    publisher.publish(10).await?;
    try_join_all(crowd.iter_mut().map(|client| expect(client, 1..=10))).await?;
    // Those who leave disturb nobody.
    crowd.truncate(CROWD / 2);
    publisher.publish(1).await?;
    try_join_all(crowd.iter_mut().map(|client| expect(client, [11]))).await?;
    Ok(())
}
