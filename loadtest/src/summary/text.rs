//! A summary as text for a terminal.

use std::fmt;

use super::{KeyKind, Summary};

/// Why something of the servers is not there, and what brings it.
const UNKNOWN: &str = "their processes are not known (--pids names them)";

fn or_not<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "not measured".to_owned(), text)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.closed { ", closed loop" } else { "" };
        writeln!(
            f,
            "{} on {}: {} users over {}{how}, {:.1} s measured, seed {}",
            self.scenario, self.server, self.users, self.transports, self.seconds, self.seed
        )?;
        if let Some(m) = &self.messages {
            writeln!(
                f,
                "  messages   {} sent, {} acknowledged, {} refused, {} unanswered; {:.0}/s sent, {:.0}/s delivered",
                m.sent, m.acknowledged, m.refused, m.unanswered, m.sent_rate, m.delivered_rate
            )?;
            if m.reconnects > 0 {
                writeln!(f, "  reconnects {}", m.reconnects)?;
            }
            writeln!(
                f,
                "  promises   {} missing, {} repeated, {} reordered",
                m.missing, m.repeated, m.reordered
            )?;
            for refusal in &m.refusals {
                writeln!(f, "  refused    {refusal}")?;
            }
        }
        if self.messages.is_some() && self.latency.is_none() && self.returns.is_none() {
            writeln!(f, "  latency    not measured: nothing arrived in the measured time")?;
        }
        if let Some(l) = &self.latency {
            writeln!(
                f,
                "  latency    p50 {:.2} ms, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
                l.p50, l.p90, l.p99, l.p999, l.max
            )?;
        }
        if let Some(c) = &self.cpu {
            match c.servers {
                None => writeln!(f, "  CPU        of the servers not measured: {UNKNOWN}")?,
                Some(servers) => {
                    let micros = |value: Option<f64>| or_not(value, |micros| format!("{micros:.1}"));
                    let (gateways, routers, redis) = (micros(c.gateways), micros(c.routers), micros(c.redis));
                    write!(f, "  CPU        {servers:.1} µs per delivered message (gateways {gateways}, ")?;
                    write!(f, "routers {routers}, redis {redis}")?;
                    if let Some(others) = c.others {
                        write!(f, ", others {others:.1}")?;
                    }
                    writeln!(f, ")")?;
                }
            }
            let of = if c.servers.is_some() { "in all" } else { "by it" };
            writeln!(f, "             generator {:.1} µs; {:.2} cores busy {of}", c.generator, c.cores_busy)?;
        }
        if let Some(m) = &self.memory {
            let kib = |bytes: Option<f64>| or_not(bytes, |bytes| format!("{:.2} KiB", bytes / 1024.0));
            match m.gateway_bytes.or(m.router_bytes).or(m.redis_bytes) {
                None => writeln!(f, "  memory     of the servers not measured: {UNKNOWN}")?,
                Some(_) => writeln!(
                    f,
                    "  memory     per idle connection: gateways {}, routers {}, redis {} (gateways in all {})",
                    kib(m.gateway_bytes),
                    kib(m.router_bytes),
                    kib(m.redis_bytes),
                    or_not(m.gateways_total, |bytes| format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0))
                )?,
            }
        }
        if let Some(r) = &self.returns {
            writeln!(
                f,
                "  back       {} users after {:.0} ms (p50 {:.0}), {} retries, CPU of each {}",
                r.users,
                r.back.max,
                r.back.p50,
                r.retries,
                or_not(r.cpu_per_user, |micros| format!("{micros:.0} µs"))
            )?;
            writeln!(
                f,
                "  caught up  after {:.0} ms (p50 {:.0}) with {} messages each, {:.0}/s",
                r.caught_up.max, r.caught_up.p50, r.backlog, r.messages_per_second
            )?;
        }
        if let Some(longest) = &self.redis {
            if longest.millis > 0.0 {
                writeln!(
                    f,
                    "  redis      longest call {:.1} ms ({}), {} over 20 ms, by its slow log",
                    longest.millis, longest.command, longest.beyond
                )?;
            } else {
                writeln!(f, "  redis      no call took 5 ms, by its slow log")?;
            }
        }
        if let Some(stored) = &self.stored {
            let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
            let all = stored.kinds.iter().map(|kind| kind.bytes).sum();
            writeln!(f, "  stored     {:.1} MiB in Redis; by kind of key:", mib(all))?;
            for KeyKind { name, keys, elements, bytes } in &stored.kinds {
                let each = *bytes as f64 / (*elements).max(1) as f64;
                writeln!(
                    f,
                    "             {name}: {:.1} MiB in {keys} keys, {elements} elements of {each:.1} B",
                    mib(*bytes)
                )?;
            }
        }
        for process in &self.processes {
            let mib = process.resident as f64 / 1024.0 / 1024.0;
            writeln!(f, "  {:10} {:.2} cores, {mib:.1} MiB resident", process.name, process.cores)?;
        }
        if let Some(g) = self.generator.as_ref().filter(|generator| generator.was_the_limit) {
            writeln!(
                f,
                "  NOTE       the generator was the limit: its timers were {:.1} ms late (p99), its messages {:.1} ms",
                g.late_p99, g.schedule_p99
            )?;
        }
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
