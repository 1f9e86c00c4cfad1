//! Hosts and time. Each host has a runtime of one thread, whose clock stands still
//! until the world moves it; they are run one after the other, a step at a time.

use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance, sleep_until};

use crate::machine;
use crate::network::{self, HostId};

/// The time that all hosts run before bytes arrive: the shortest time on the way.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// What a host does. Nothing of it is on another thread.
pub(crate) type Program = Pin<Box<dyn Future<Output = ()>>>;

/// All hosts.
pub(crate) struct World {
    hosts: Vec<Host>,
    now: Duration,
}

struct Host {
    id: HostId,
    /// Makes its program, at each start.
    program: Box<dyn Fn() -> Program>,
    running: Option<Running>,
    /// It stands still until then.
    still_until: Duration,
}

struct Running {
    program: Program,
    runtime: Runtime,
    /// The host's own time, and the world's then.
    begun: Instant,
    at: Duration,
    ended: bool,
}

impl Running {
    fn start(program: &dyn Fn() -> Program, now: Duration) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O needs nothing");
        let begun = runtime.block_on(async { Instant::now() });
        let program = {
            let _inside = runtime.enter();
            program()
        };
        Self { program, runtime, begun, at: now, ended: false }
    }

    /// Runs until the world's time is `now`.
    fn step(&mut self, now: Duration) {
        let until = self.begun + (now - self.at);
        let (program, ended) = (&mut self.program, self.ended);
        self.ended |= self.runtime.block_on(async {
            if ended {
                sleep_until(until).await;
                return true;
            }
            tokio::select! {
                biased;
                () = program => true,
                () = sleep_until(until) => false,
            }
        });
    }

    /// It stood still, and sees its clock at `now` at once.
    fn jump(&mut self, now: Duration) {
        let until = self.begun + (now - self.at);
        self.runtime.block_on(async { advance(until.saturating_duration_since(Instant::now())).await });
    }

    /// Ends wherever it is: nothing of it runs once more.
    fn kill(self) {
        let Self { program, runtime, .. } = self;
        {
            let _inside = runtime.enter();
            drop(program);
        }
        drop(runtime);
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self { hosts: Vec::new(), now: Duration::ZERO }
    }

    /// The time since the world began.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// A host that starts now.
    pub(crate) fn host(&mut self, id: HostId, program: impl Fn() -> Program + 'static) {
        let host = Host { id, program: Box::new(program), running: None, still_until: Duration::ZERO };
        self.hosts.push(host);
        self.start(id);
    }

    fn of(&mut self, id: HostId) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.id == id)
    }

    /// Starts a host that does not run.
    pub(crate) fn start(&mut self, id: HostId) {
        let now = self.now;
        if let Some(host) = self.of(id)
            && host.running.is_none()
        {
            network::runs(id);
            host.running = Some(Running::start(&*host.program, now));
        }
    }

    /// Kills a host, wherever its tasks are.
    pub(crate) fn kill(&mut self, id: HostId) {
        if let Some(running) = self.of(id).and_then(|host| host.running.take()) {
            network::runs(id);
            network::forget(id);
            running.kill();
        }
    }

    /// A host stands still for so long, and goes on then.
    pub(crate) fn stand_still(&mut self, id: HostId, time: Duration) {
        let until = self.now + time;
        if let Some(host) = self.of(id) {
            host.still_until = until;
        }
    }

    /// One step: everybody runs, then what is due arrives.
    pub(crate) fn step(&mut self) {
        let before = self.now;
        self.now += STEP;
        let now = self.now;
        for host in &mut self.hosts {
            let Some(running) = &mut host.running else { continue };
            if host.still_until >= now {
                continue;
            }
            network::runs(host.id);
            machine::set(before);
            if host.still_until > Duration::ZERO {
                host.still_until = Duration::ZERO;
                running.jump(before);
            }
            running.step(now);
        }
        machine::set(now);
        network::deliver(now);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            if let Some(running) = host.running.take() {
                network::runs(host.id);
                running.kill();
            }
        }
    }
}
