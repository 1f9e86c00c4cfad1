//! What happens to the people of a cluster whose parts fail: every scenario
//! runs real processes, and one checker judges what everyone sent and got.

mod archive;
mod bus;
mod crash;
mod drain;
mod exchange;
mod internal_tls;
mod outage;
mod rates;
mod redis_user;
mod resume;
mod revoked;
mod slow_reader;
mod standstill;
mod tomorrow;

use std::sync::Arc;

use anyhow::Result;
use cluster_tests::{Cluster, Person};
use loadtest::history::Allowed;

/// Nothing but the cluster itself may lose or rewrite anything.
const STRICT: Allowed = Allowed { reset: false };

/// People of these names, the first on the first gateway, the second on the
/// second, and so on around.
async fn people(cluster: &Cluster, users: &[&str]) -> Result<Vec<Arc<Person>>> {
    let mut people = Vec::new();
    for (index, user) in users.iter().enumerate() {
        people.push(Arc::new(cluster.person(user, "d1", index).await?));
    }
    Ok(people)
}

/// Everybody got everything, and nobody's session ended meanwhile.
async fn settle_without_a_break(cluster: &mut Cluster, people: &[Arc<Person>]) -> Result<()> {
    cluster.settle(&all(people), STRICT).await?;
    for person in people {
        assert_eq!(person.standing().sessions, 1, "{person}");
    }
    Ok(())
}

fn all(people: &[Arc<Person>]) -> Vec<&Person> {
    people.iter().map(Arc::as_ref).collect()
}
