//! One node of a Socketioxide cluster with its Redis adapter: what one would write
//! who follows its documentation, and nothing more.
//!
//!     yardstick-socketioxide PORT REDIS_URL THREADS
//!
//! A user joins a room of its own name; `send` goes to a user's room, `publish`
//! to a channel's.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use serde::Deserialize;
use serde_json::Value;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{Data, SocketRef};
use socketioxide::{SocketIo, TransportType};
use socketioxide_redis::drivers::redis::redis_client;
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};
use tokio::net::TcpSocket;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Deserialize)]
struct Auth {
    user: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, redis, threads] = arguments.as_slice() else { return Err("PORT REDIS_URL THREADS".into()) };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads.parse()?).enable_all().build()?;
    runtime.block_on(serve(port.parse()?, redis))
}

async fn serve(port: u16, redis: &str) -> Result<(), Box<dyn Error>> {
    let client = redis_client::Client::open(format!("{redis}?protocol=resp3"))?;
    let adapter = RedisAdapterCtr::new_with_redis(&client).await?;
    let (layer, io) = SocketIo::builder()
        .transports([TransportType::Polling, TransportType::Websocket])
        .with_adapter::<RedisAdapter<_>>(adapter)
        .build_layer();
    io.ns("/", connected).await?;
    let app = Router::new().route("/", get(async || "ok\n")).layer(layer);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    // Room for a storm.
    axum::serve(socket.listen(4096)?, app).await?;
    Ok(())
}

async fn connected<A: Adapter>(socket: SocketRef<A>, Data(auth): Data<Auth>) {
    socket.join(auth.user);
    socket.on("send", async |socket: SocketRef<A>, Data((to, body)): Data<(String, Value)>| {
        // Whoever is not there hears nothing.
        let _ = socket.within(to).emit("message", &body).await;
    });
    socket.on("publish", async |socket: SocketRef<A>, Data((channel, body)): Data<(String, Value)>| {
        let _ = socket.within(channel.clone()).emit("publication", &(body, channel)).await;
    });
    socket.on("subscribe", async |socket: SocketRef<A>, Data(channel): Data<String>| {
        socket.join(channel);
        let _ = socket.emit("subscribed", &());
    });
}
