//! CPU and memory of the server processes and of this one.

use std::fs;
use std::iter::Sum;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::{Memory, Usage};

use super::{Role, Servers};
use crate::summary::{Cpu, ProcessCost};

/// CPU time used so far, by each process; this one is the last.
#[derive(Debug, Clone)]
pub(crate) struct CpuLook {
    when: Instant,
    used: Vec<Duration>,
}

/// Bytes held, private or shared by halves; nothing where no process is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryLook {
    pub(crate) gateways: Option<u64>,
    pub(crate) routers: Option<u64>,
    pub(crate) redis: Option<u64>,
}

impl CpuLook {
    pub(crate) fn now(servers: &Servers) -> Result<Self> {
        let mut used = Vec::with_capacity(servers.processes.len() + 1);
        for process in &servers.processes {
            used.push(Usage::of(process.pid).with_context(|| format!("{} has gone", process.name))?.cpu);
        }
        used.push(Usage::own()?.cpu);
        Ok(Self { when: Instant::now(), used })
    }

    /// Cores that each process kept busy since.
    pub(crate) fn cores(&self, before: &Self) -> Vec<f64> {
        let seconds = (self.when - before.when).as_secs_f64().max(0.001);
        let used = self.used.iter().zip(&before.used);
        used.map(|(now, before)| now.saturating_sub(*before).as_secs_f64() / seconds).collect()
    }

    /// What each delivered message has cost since.
    pub(crate) fn since(&self, before: &Self, servers: &Servers, delivered: u64) -> Cpu {
        let each = |used: Duration| used.as_secs_f64() * 1e6 / delivered.max(1) as f64;
        let used: Vec<_> = self.used.iter().zip(&before.used).map(|(a, b)| a.saturating_sub(*b)).collect();
        let of = |is: &dyn Fn(Role) -> bool| {
            let its = servers.processes.iter().zip(&used).filter(|(process, _)| is(process.role));
            known(its.map(|(_, used)| *used)).map(each)
        };
        Cpu {
            gateways: of(&|role| role == Role::Gateway),
            routers: of(&|role| role == Role::Router),
            redis: of(&|role| role == Role::Redis),
            others: of(&|role| role == Role::Other),
            servers: of(&|_| true),
            generator: each(used.last().copied().unwrap_or_default()),
            cores_busy: self.cores(before).iter().sum(),
        }
    }
}

impl MemoryLook {
    pub(crate) fn now(servers: &Servers) -> Result<Self> {
        let held = |is: &dyn Fn(Role) -> bool| -> Result<Option<u64>> {
            let its = servers.processes.iter().filter(|process| is(process.role));
            let its: Result<Vec<u64>> = its.map(|process| Ok(Memory::of(process.pid)?.resident)).collect();
            Ok(known(its?.into_iter()))
        };
        Ok(Self {
            gateways: held(&|role| matches!(role, Role::Gateway | Role::Other))?,
            routers: held(&|role| role == Role::Router)?,
            redis: held(&|role| role == Role::Redis)?,
        })
    }
}

/// The sum; nothing of nothing, which is not the same as 0.
fn known<T: Sum>(each: impl Iterator<Item = T>) -> Option<T> {
    let mut each = each.peekable();
    each.peek().is_some().then_some(())?;
    Some(each.sum())
}

/// Resident bytes of each process, this one last. Cheap, unlike
/// [`MemoryLook`]: to be asked at each tick.
pub(crate) fn resident(servers: &Servers) -> Vec<u64> {
    let pids = servers.processes.iter().map(|process| process.pid).chain([std::process::id()]);
    pids.map(resident_of).collect()
}

/// What each process has cost over the measured time, for the summary.
pub(crate) fn processes(servers: &Servers, before: &CpuLook, after: &CpuLook) -> Vec<ProcessCost> {
    let names = servers.processes.iter().map(|process| process.name.clone()).chain(["generator".to_owned()]);
    let costs = names.zip(after.cores(before)).zip(resident(servers));
    costs.map(|((name, cores), resident)| ProcessCost { name, cores, resident }).collect()
}

/// `VmRSS` of proc_pid_status(5); 0 when the process has gone.
fn resident_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
