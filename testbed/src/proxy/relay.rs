//! One proxied connection: two directions, each a loop that reads, waits out
//! the weather, and writes.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::filter::{Fate, Losses};
use super::{Direction, Weather};
use crate::resp;

#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) target: SocketAddr,
    pub(super) weather: watch::Receiver<Weather>,
    /// Set in front of Redis.
    pub(super) losses: Option<Arc<Mutex<Losses>>>,
}

impl Relay {
    /// Returns when either side has closed; after `vanish` when the client has.
    pub(super) async fn run(self, mut client: TcpStream, vanish: CancellationToken) -> Result<()> {
        let source = client.peer_addr()?.ip();
        let mut server = TcpStream::connect(self.target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            result = pump(from_client, to_server, (Direction::Up, source), self.weather.clone(), None) => return result,
            result = pump(from_server, to_client, (Direction::Down, source), self.weather, self.losses) => return result,
            () = vanish.cancelled() => {}
        }
        drop(server);
        // What it says goes nowhere.
        tokio::io::copy(&mut client, &mut tokio::io::sink()).await?;
        Ok(())
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (direction, source): (Direction, IpAddr),
    mut weather: watch::Receiver<Weather>,
    losses: Option<Arc<Mutex<Losses>>>,
) -> Result<()> {
    let mut gathered = Vec::with_capacity(64 * 1024);
    let mut passed = Vec::new();
    let mut late = Vec::new();
    loop {
        if from.read_buf(&mut gathered).await? == 0 {
            return Ok(());
        }
        match &losses {
            None => passed.append(&mut gathered),
            Some(losses) => sift(&mut gathered, &mut passed, &mut late, losses)?,
        }
        #[expect(clippy::disallowed_methods, reason = "for the length of a copy")]
        let Weather { mut delay, jitter, drip, .. } = *weather.borrow();
        if !jitter.is_zero() {
            delay += jitter.mul_f64(rand::random());
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let held = |weather: &Weather| {
            let all = match direction {
                Direction::Up => weather.hold_up,
                Direction::Down => weather.hold_down,
                Direction::Both => weather.hold_up || weather.hold_down,
            };
            all || weather.hold_from == Some(source)
        };
        weather.wait_for(|weather| !held(weather)).await?;
        if drip {
            for byte in passed.chunks(1) {
                to.write_all(byte).await?;
                // Else the next one may go along.
                tokio::task::yield_now().await;
            }
        } else {
            to.write_all(&passed).await?;
        }
        passed.clear();
    }
}

/// A message that waits for later ones to pass it: for how many.
type Late = (usize, Vec<u8>);

/// Moves whole values over, byte for byte, as the fate of each is.
fn sift(
    gathered: &mut Vec<u8>,
    passed: &mut Vec<u8>,
    late: &mut Vec<Late>,
    losses: &Mutex<Losses>,
) -> Result<()> {
    let mut at = 0;
    while let Some((value, length)) = resp::parse(&gathered[at..])? {
        let bytes = &gathered[at..at + length];
        at += length;
        let Some(fate) = losses.lock().expect("no holder panics").fate(&value) else {
            passed.extend_from_slice(bytes);
            continue;
        };
        match fate {
            Fate::Passes => passed.extend_from_slice(bytes),
            Fate::Lost => {}
            Fate::Twice => passed.extend_from_slice(&bytes.repeat(2)),
            // One more, since this one counts itself below.
            Fate::After(others) => late.push((others + 1, bytes.to_vec())),
        }
        late.retain_mut(|(others, bytes)| {
            *others -= 1;
            if *others == 0 {
                passed.extend_from_slice(bytes);
            }
            *others > 0
        });
    }
    gathered.drain(..at);
    Ok(())
}
