//! The connections between hosts. What is written arrives later, in order; a way
//! between two hosts may be slow or held, and a connection may break at any byte.
//!
//! Bytes arrive between two steps of the world, never during one: so it does not matter
//! in which order hosts are run within a step.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use daemon::stream::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::sleep;
use xxhash_rust::xxh3::Xxh3;

/// Bytes under way, or unread, after which a writer waits.
const WINDOW: usize = 256 << 10;
/// Connections that nobody has accepted; one more is refused.
const BACKLOG: usize = 128;
/// Between two looks whether a way is free again.
const LOOK: Duration = Duration::from_millis(20);

/// A host, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(crate) u8);

impl HostId {
    /// Where it listens.
    pub(crate) fn address(self) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, self.0], 7_000))
    }
}

/// A connection that has come, and from where.
pub(crate) type Incoming = (Box<dyn Bytes>, SocketAddr);

static NETWORK: LazyLock<Mutex<Network>> = LazyLock::new(Mutex::default);

fn network() -> MutexGuard<'static, Network> {
    NETWORK.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Network {
    now: Duration,
    /// Who runs at this moment.
    running: HostId,
    chance: StdRng,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Incoming>>,
    pipes: Vec<Weak<Mutex<Pipe>>>,
    ways: BTreeMap<(HostId, HostId), Way>,
    /// Over all that has arrived.
    trace: Xxh3,
    arrived: u64,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            now: Duration::ZERO,
            running: HostId(0),
            chance: StdRng::seed_from_u64(0),
            listeners: BTreeMap::new(),
            pipes: Vec::new(),
            ways: BTreeMap::new(),
            trace: Xxh3::new(),
            arrived: 0,
        }
    }
}

/// From one host to another.
#[derive(Default, Clone, Copy)]
struct Way {
    /// Nothing arrives until then.
    held_until: Duration,
    /// Everything takes up to so much longer, until `slow_until`.
    slow_by: Duration,
    slow_until: Duration,
}

/// One direction of a connection.
struct Pipe {
    from: HostId,
    to: HostId,
    flight: VecDeque<(Duration, Vec<u8>)>,
    arrived: VecDeque<u8>,
    bytes: usize,
    /// The writer has ended; told when all before has arrived.
    ended: bool,
    end_arrived: bool,
    /// It has broken: what has arrived may still be read.
    broken: bool,
    reader_is_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.reader.take());
        woken.extend(self.writer.take());
    }
}

fn locked(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything begins anew, with this seed.
pub(crate) fn begin(seed: u64) {
    *network() = Network { chance: StdRng::seed_from_u64(seed), ..Network::default() };
}

/// From now on this host runs.
pub(crate) fn runs(host: HostId) {
    network().running = host;
}

/// A hash over all bytes that have arrived, with their times and ways; and how many
/// times some did.
pub(crate) fn trace() -> (u64, u64) {
    let network = network();
    (network.trace.digest(), network.arrived)
}

/// The time has come to this: what is due by then arrives.
pub(crate) fn deliver(now: Duration) {
    let mut woken = Vec::new();
    {
        let network = &mut *network();
        network.now = now;
        network.pipes.retain(|pipe| pipe.strong_count() > 0);
        for pipe in network.pipes.iter().filter_map(Weak::upgrade) {
            let mut pipe = locked(&pipe);
            let way = network.ways.get(&(pipe.from, pipe.to)).copied().unwrap_or_default();
            if way.held_until > now || pipe.broken {
                continue;
            }
            let mut any = false;
            while pipe.flight.front().is_some_and(|(due, _)| *due <= now) {
                let Some((_, bytes)) = pipe.flight.pop_front() else { break };
                network.trace.update(&[pipe.from.0, pipe.to.0]);
                network.trace.update(&now.as_millis().to_le_bytes());
                network.trace.update(&bytes);
                network.arrived += 1;
                pipe.arrived.extend(bytes);
                any = true;
            }
            if pipe.ended && pipe.flight.is_empty() && !pipe.end_arrived {
                pipe.end_arrived = true;
                any = true;
            }
            if any {
                pipe.wake(&mut woken);
            }
        }
    }
    woken.into_iter().for_each(Waker::wake);
}

/// Nothing arrives from one host at another for so long.
pub(crate) fn hold(from: HostId, to: HostId, time: Duration) {
    let network = &mut *network();
    let until = network.now + time;
    network.ways.entry((from, to)).or_default().held_until = until;
}

/// Everything takes up to `by` longer for so long.
pub(crate) fn slow(from: HostId, to: HostId, by: Duration, time: Duration) {
    let network = &mut *network();
    let way = network.ways.entry((from, to)).or_default();
    (way.slow_by, way.slow_until) = (by, network.now + time);
}

/// All ways are free, and fast.
pub(crate) fn heal() {
    network().ways.clear();
}

/// Breaks the connections between two hosts. Of what is under way any part may still
/// have arrived.
pub(crate) fn cut(one: HostId, other: HostId) {
    break_pipes(|pipe| (pipe.from, pipe.to) == (one, other) || (pipe.from, pipe.to) == (other, one));
}

/// A host is gone, with all its connections; of what it has sent any part may arrive.
pub(crate) fn forget(host: HostId) {
    break_pipes(|pipe| pipe.from == host || pipe.to == host);
    network().listeners.remove(&host.address());
}

fn break_pipes(which: impl Fn(&Pipe) -> bool) {
    let mut woken = Vec::new();
    {
        let network = &mut *network();
        for pipe in network.pipes.iter().filter_map(Weak::upgrade) {
            let mut pipe = locked(&pipe);
            if pipe.broken || !which(&pipe) {
                continue;
            }
            let kept = network.chance.random_range(0..=pipe.flight.len());
            let some: Vec<(Duration, Vec<u8>)> = pipe.flight.drain(..kept).collect();
            for (_, bytes) in some {
                network.trace.update(&bytes);
                pipe.arrived.extend(bytes);
            }
            // The last piece may be half there.
            if let Some((_, bytes)) = pipe.flight.pop_front() {
                let part = network.chance.random_range(0..=bytes.len());
                pipe.arrived.extend(&bytes[..part]);
            }
            pipe.flight.clear();
            pipe.broken = true;
            pipe.wake(&mut woken);
        }
    }
    woken.into_iter().for_each(Waker::wake);
}

/// Takes connections for a host from now on.
pub(crate) fn listen(host: HostId) -> mpsc::Receiver<Incoming> {
    let (give, take) = mpsc::channel(BACKLOG);
    network().listeners.insert(host.address(), give);
    take
}

/// Connects the host that runs to another one.
pub(crate) async fn connect(to: SocketAddr) -> io::Result<Connection> {
    let refused = || io::Error::new(ErrorKind::ConnectionRefused, "nobody listens there");
    let (from, pause) = {
        let network = &mut *network();
        (network.running, Duration::from_millis(network.chance.random_range(1..10)))
    };
    sleep(pause).await;
    let there = match to.ip() {
        std::net::IpAddr::V4(address) => HostId(address.octets()[3]),
        std::net::IpAddr::V6(_) => return Err(refused()),
    };
    loop {
        {
            let network = network();
            let held =
                |from, to| network.ways.get(&(from, to)).is_some_and(|way| way.held_until > network.now);
            if !held(from, there) && !held(there, from) {
                break;
            }
        }
        sleep(LOOK).await;
    }
    let network = &mut *network();
    let listener = network.listeners.get(&to).ok_or_else(refused)?;
    let (out, back) = (pipe(from, there), pipe(there, from));
    network.pipes.extend([Arc::downgrade(&out), Arc::downgrade(&back)]);
    let theirs = Connection { read: out.clone(), write: back.clone() };
    listener.try_send((Box::new(theirs), from.address())).map_err(|_| refused())?;
    Ok(Connection { read: back, write: out })
}

fn pipe(from: HostId, to: HostId) -> Arc<Mutex<Pipe>> {
    Arc::new(Mutex::new(Pipe {
        from,
        to,
        flight: VecDeque::new(),
        arrived: VecDeque::new(),
        bytes: 0,
        ended: false,
        end_arrived: false,
        broken: false,
        reader_is_gone: false,
        reader: None,
        writer: None,
    }))
}

/// One end of a connection.
pub(crate) struct Connection {
    read: Arc<Mutex<Pipe>>,
    write: Arc<Mutex<Pipe>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = locked(&self.read);
        if !pipe.arrived.is_empty() {
            let count = into.remaining().min(pipe.arrived.len());
            let (first, _) = pipe.arrived.as_slices();
            let count = count.min(first.len());
            into.put_slice(&first[..count]);
            pipe.arrived.drain(..count);
            pipe.bytes = pipe.bytes.saturating_sub(count);
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        if pipe.end_arrived {
            return Poll::Ready(Ok(()));
        }
        if pipe.broken {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        pipe.reader = Some(task.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let network = &mut *network();
        let mut pipe = locked(&self.write);
        if pipe.broken || pipe.reader_is_gone || pipe.ended {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if pipe.bytes >= WINDOW {
            pipe.writer = Some(task.waker().clone());
            return Poll::Pending;
        }
        let way = network.ways.get(&(pipe.from, pipe.to)).copied().unwrap_or_default();
        let most = match way.slow_until > network.now {
            true => way.slow_by,
            false => Duration::from_millis(12),
        };
        let delay = Duration::from_millis(network.chance.random_range(0..=most.as_millis() as u64));
        let before = pipe.flight.back().map_or(Duration::ZERO, |(due, _)| *due);
        let due = (network.now + delay).max(before);
        let count = bytes.len().min(WINDOW);
        pipe.bytes += count;
        pipe.flight.push_back((due, bytes[..count].to_vec()));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        locked(&self.write).ended = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        locked(&self.write).ended = true;
        let mut read = locked(&self.read);
        read.reader_is_gone = true;
        let writer = read.writer.take();
        drop(read);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}
