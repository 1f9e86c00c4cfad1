//! `conformance`: serves the suites until it is told to stop.

use std::net::SocketAddr;
use std::pin::pin;

use clap::Parser as _;
use conformance::{Among, Times};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The gateway's transports with an echo inside, for the test suites of protocol
/// authors.
#[derive(clap::Parser)]
struct Args {
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// This process among several.
    #[arg(long, default_value = "conformance", value_name = "NAME")]
    node: String,

    /// Where the others reach this one.
    #[arg(long, value_name = "ADDRESS", requires = "peers")]
    peer_listen: Option<SocketAddr>,

    /// Another process, and the URL of its --peer-listen; for each of them.
    #[arg(long = "peer", id = "peers", value_name = "NAME=URL", requires = "peer_listen", value_parser = peer)]
    peers: Vec<(String, String)>,
}

fn peer(text: &str) -> Result<(String, String), &'static str> {
    let (name, url) = text.split_once('=').ok_or("must be such as two=http://127.0.0.1:7202")?;
    Ok((name.to_owned(), url.to_owned()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let among = match args.peer_listen {
        Some(address) => {
            let others = args.peers.into_iter().collect();
            let among = Among { node: args.node, others, requests: 10_000, tls: None };
            Some((TcpListener::bind(address).await?, among))
        }
        None => None,
    };
    let mut serving = pin!(conformance::serve(listener, among, Times::SUITES, stop.clone()));
    tokio::select! {
        () = &mut serving => return Ok(()),
        told = tokio::signal::ctrl_c() => told?,
    }
    stop.cancel();
    serving.await;
    Ok(())
}
