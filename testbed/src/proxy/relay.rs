//! One proxied connection: two directions, each a loop that reads, waits out
//! the weather, and writes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Weather;
use super::filter::Losses;
use crate::resp;

#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) target: SocketAddr,
    pub(super) weather: watch::Receiver<Weather>,
    /// Set in front of Redis.
    pub(super) losses: Option<Arc<Mutex<Losses>>>,
}

impl Relay {
    /// Returns when either side has closed.
    pub(super) async fn run(self, client: TcpStream) -> Result<()> {
        let server = TcpStream::connect(self.target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            result = pump(from_client, to_server, self.weather.clone(), None) => result,
            result = pump(from_server, to_client, self.weather, self.losses) => result,
        }
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    losses: Option<Arc<Mutex<Losses>>>,
) -> Result<()> {
    let mut gathered = Vec::with_capacity(64 * 1024);
    let mut passed = Vec::new();
    loop {
        if from.read_buf(&mut gathered).await? == 0 {
            return Ok(());
        }
        match &losses {
            None => passed.append(&mut gathered),
            Some(losses) => sift(&mut gathered, &mut passed, losses)?,
        }
        #[expect(clippy::disallowed_methods, reason = "for the length of a copy")]
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        weather.wait_for(|weather| !weather.hold).await?;
        to.write_all(&passed).await?;
        passed.clear();
    }
}

/// Moves whole values over, byte for byte, without those to be lost.
fn sift(gathered: &mut Vec<u8>, passed: &mut Vec<u8>, losses: &Mutex<Losses>) -> Result<()> {
    let mut at = 0;
    while let Some((value, length)) = resp::parse(&gathered[at..])? {
        let lost = losses.lock().expect("no holder panics").loses(&value);
        if !lost {
            passed.extend_from_slice(&gathered[at..at + length]);
        }
        at += length;
    }
    gathered.drain(..at);
    Ok(())
}
