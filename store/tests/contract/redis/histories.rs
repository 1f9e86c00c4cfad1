//! The fuzz of the contract, with what only Redis can do: both ways of writing
//! on the same data, routers that are started anew, and a server that goes back
//! to an older copy of its data.

use std::sync::Arc;

use store::Store;
use testbed::RedisServer;

use super::{Open, config, open};
use crate::contract::fuzz::Fuzz;
use crate::contract::harness::changed;

/// Steps before and after the copy is put back.
const STEPS: usize = 60;

/// Two routers that write in one call, and one that writes step by step.
async fn router(server: &RedisServer, index: usize) -> Open {
    let steps = if index == 2 { "?steps=separate" } else { "" };
    open(config(format!("{}{steps}", server.url()))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_is_filed_once_and_in_order_in_whichever_history_stays() {
    let mut server = RedisServer::start().await.unwrap();
    let users = ["alice", "bob", "carol"].map(|name| proto::UserId::parse(name).unwrap());
    let mut opened = Vec::new();
    for index in 0..3 {
        opened.push(router(&server, index).await);
    }
    let group = proto::ConversationId::new_group(proto::Time::now());
    let make = store::model::Change {
        name: Some("name".into()),
        owner: Some(users[0].clone()),
        add: users.to_vec(),
        ..Default::default()
    };
    opened[0].store.post(vec![changed(&users[0], &group, make)]).await.unwrap();
    let mut fuzz = Fuzz::new(rand::random(), users.to_vec(), group);
    let mut kept = None;
    for step in 0..3 * STEPS {
        if step % 20 == 19 {
            // A router is started anew.
            let index = step / 20 % 3;
            opened[index] = router(&server, index).await;
        }
        if step == STEPS {
            kept = Some((server.copy_data().await.unwrap(), fuzz.answered.clone()));
        }
        if step == 2 * STEPS {
            let (copy, answered) = kept.take().unwrap();
            server.put_back(&copy).await.unwrap();
            // What was answered since then is lost, and will be sent again.
            fuzz.answered = answered;
        }
        let routers: Vec<Arc<dyn Store>> = opened.iter().map(|open| open.store.clone()).collect();
        fuzz.step(&routers).await;
    }
    let routers: Vec<Arc<dyn Store>> = opened.iter().map(|open| open.store.clone()).collect();
    fuzz.end(&routers).await;
}
