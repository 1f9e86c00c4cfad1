//! CPU and memory of the server processes, looked at twice.

use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{Memory, Usage};

use super::Servers;
use crate::summary::Cpu;

/// CPU time used so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuLook {
    when: Instant,
    gateways: Duration,
    routers: Duration,
    redis: Duration,
    others: Duration,
    own: Duration,
}

/// Bytes held, private or shared by halves.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryLook {
    pub(super) gateways: u64,
    pub(super) routers: u64,
    pub(super) redis: u64,
}

impl CpuLook {
    pub(super) fn now(servers: &Servers) -> Result<Self> {
        Ok(Self {
            when: Instant::now(),
            gateways: sum(&servers.gateway_pids)?,
            routers: sum(&servers.router_pids)?,
            redis: sum(&servers.redis_pids)?,
            others: sum(&servers.other_pids)?,
            own: Usage::own()?.cpu,
        })
    }

    /// What each delivered message has cost since.
    pub(super) fn since(&self, before: &Self, delivered: u64) -> Cpu {
        let each =
            |now: Duration, before: Duration| (now - before).as_secs_f64() * 1e6 / delivered.max(1) as f64;
        let gateways = each(self.gateways, before.gateways);
        let routers = each(self.routers, before.routers);
        let redis = each(self.redis, before.redis);
        let others = each(self.others, before.others);
        let servers = gateways + routers + redis + others;
        let generator = each(self.own, before.own);
        let seconds = (self.when - before.when).as_secs_f64();
        let cores_busy = (servers + generator) * delivered.max(1) as f64 / 1e6 / seconds;
        Cpu { gateways, routers, redis, others, servers, generator, cores_busy }
    }
}

impl MemoryLook {
    pub(super) fn now(servers: &Servers) -> Result<Self> {
        let gateways: Vec<u32> = servers.gateway_pids.iter().chain(&servers.other_pids).copied().collect();
        Ok(Self {
            gateways: held(&gateways)?,
            routers: held(&servers.router_pids)?,
            redis: held(&servers.redis_pids)?,
        })
    }
}

fn sum(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| Ok(Usage::of(*pid)?.cpu)).sum()
}

fn held(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| Ok(Memory::of(*pid)?.resident)).sum()
}
