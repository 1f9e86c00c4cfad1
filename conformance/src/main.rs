//! `conformance`: serves the suites until it is told to stop.

use std::net::SocketAddr;
use std::pin::pin;

use clap::Parser as _;
use conformance::Times;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The gateway's transports with an echo inside, for the test suites of protocol
/// authors.
#[derive(clap::Parser)]
struct Args {
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let mut serving = pin!(conformance::serve(listener, Times::SUITES, stop.clone()));
    tokio::select! {
        () = &mut serving => return Ok(()),
        told = tokio::signal::ctrl_c() => told?,
    }
    stop.cancel();
    serving.await;
    Ok(())
}
