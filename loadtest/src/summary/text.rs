//! A summary as text for a terminal.

use std::fmt;

use super::Summary;

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
        if let Some(l) = &self.latency {
            writeln!(
                f,
                "  latency    p50 {:.2} ms, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
                l.p50, l.p90, l.p99, l.p999, l.max
            )?;
        }
        if let Some(c) = &self.cpu {
            writeln!(
                f,
                "  CPU        {:.1} µs per delivered message (gateways {:.1}, routers {:.1}, redis {:.1}, others {:.1})",
                c.servers, c.gateways, c.routers, c.redis, c.others
            )?;
            writeln!(
                f,
                "             generator {:.1} µs; {:.2} cores busy in all",
                c.generator, c.cores_busy
            )?;
        }
        if let Some(m) = &self.memory {
            writeln!(
                f,
                "  memory     {:.2} KiB per idle connection in gateways, {:.2} in routers, {:.2} in redis (gateways {:.1} MiB in all)",
                m.gateway_bytes / 1024.0,
                m.router_bytes / 1024.0,
                m.redis_bytes / 1024.0,
                m.gateways_total as f64 / 1024.0 / 1024.0
            )?;
        }
        if let Some(r) = &self.returns {
            writeln!(
                f,
                "  back       {} users after {:.0} ms (p50 {:.0}), {} retries, {:.0} µs of CPU each",
                r.users, r.back.max, r.back.p50, r.retries, r.cpu_per_user
            )?;
            writeln!(
                f,
                "  caught up  after {:.0} ms (p50 {:.0}) with {} messages each, {:.0}/s",
                r.caught_up.max, r.caught_up.p50, r.backlog, r.messages_per_second
            )?;
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
