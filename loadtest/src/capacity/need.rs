//! From a number of users to a number of machines: the formula of
//! `docs/CAPACITY.md`.

use serde::Serialize;

use super::costs as cost;

const DAY: f64 = 86_400.0;

/// Days of a small installation, and of the first table.
pub const SHORT: f64 = 7.0;
/// Days that Redis keeps messages where there is an archive: an hour
/// (`--archive-after`).
pub const ARCHIVED: f64 = 1.0 / 24.0;

/// What users do. The defaults are the numbers of `docs/CAPACITY.md`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Habits {
    /// The share of all users that is connected at the peak.
    pub online: f64,
    /// Sessions of a connected user.
    pub devices: f64,
    /// Messages that a user sends a day.
    pub messages: f64,
    /// How many times the mean rate of a day the rate at the peak is.
    pub peak: f64,
    /// The share of messages that goes to groups.
    pub to_groups: f64,
    /// Members of a group, weighted by its messages.
    pub members: f64,
    /// Bytes of a body, the mean of `mixed`: 70 % 256 B, 25 % 1 KiB, 4 % 4 KiB, 1 % 16 KiB.
    pub body: f64,
    /// Times a day that a device attaches.
    pub attaches: f64,
    /// Days that Redis keeps messages.
    pub kept: f64,
    /// Days that events stay in inboxes (`--inbox-age`).
    pub in_inboxes: f64,
    /// Conversations whose newest message stays in Redis, for each user: of the ten of a
    /// user eight are direct, which two share, and two are groups.
    pub conversations: f64,
}

/// The machines, and how far they may be loaded.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Machines {
    /// Cores of a gateway.
    pub gateway_cores: f64,
    /// Sessions of a gateway at most. Its memory bounds them, and the storm that they
    /// make when the gateway dies.
    pub gateway_sessions: f64,
    /// Cores of a router.
    pub router_cores: f64,
    /// Bytes of data of a Redis primary at most: more cannot be copied, saved and
    /// moved in reasonable time.
    pub redis_bytes: f64,
    /// Cores that a Redis primary uses: scripts run on one.
    pub redis_cores: f64,
    /// The share of the cores that may be busy at the peak.
    pub filled: f64,
    /// The share of the nodes that may be lost at once: one of three zones.
    pub spare: f64,
}

/// What a number of users needs.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Need {
    /// All users, connected or not.
    pub users: f64,
    /// Sessions at the peak.
    pub sessions: f64,
    /// Messages sent in a second at the peak.
    pub messages: f64,
    /// Inbox entries written in a second at the peak.
    pub filings: f64,
    /// Messages handed to a device in a second at the peak.
    pub deliveries: f64,
    /// Sessions that begin in a second at the peak.
    pub attaches: f64,
    /// Cores of gateways in use at the peak.
    pub gateway_cores: f64,
    /// Cores of routers in use at the peak.
    pub router_cores: f64,
    /// Cores of Redis in use at the peak.
    pub redis_cores: f64,
    /// Gateways, with those that may be lost.
    pub gateways: f64,
    /// Routers, with those that may be lost.
    pub routers: f64,
    /// Redis primaries: as many as memory needs or as CPU needs, whichever is more.
    pub primaries: f64,
    /// Redis primaries that CPU alone would need.
    pub primaries_for_cpu: f64,
    /// Bytes that the sessions take in gateways.
    pub gateway_bytes: f64,
    /// Bytes of data in Redis, without replicas.
    pub redis_bytes: f64,
    /// Bits a second at the peak between clients and gateways.
    pub client_bits: f64,
    /// Bits a second at the peak among gateways, routers and Redis.
    pub inner_bits: f64,
}

impl Default for Habits {
    fn default() -> Self {
        let body = 0.70 * 256.0 + 0.25 * 1024.0 + 0.04 * 4096.0 + 0.01 * 16_384.0;
        Self {
            online: 0.25,
            devices: 1.2,
            messages: 40.0,
            peak: 3.0,
            to_groups: 0.4,
            members: 12.0,
            body,
            attaches: 10.0,
            kept: 90.0,
            in_inboxes: 7.0,
            conversations: 8.0 / 2.0 + 2.0 / 12.0,
        }
    }
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            gateway_cores: 4.0,
            gateway_sessions: 100_000.0,
            router_cores: 4.0,
            redis_bytes: 24.0 * (1u64 << 30) as f64,
            redis_cores: 1.0,
            filled: 0.6,
            spare: 1.5,
        }
    }
}

impl Habits {
    /// The mean number of members for whom a message is filed, with its sender.
    pub fn filed_for(&self) -> f64 {
        2.0 * (1.0 - self.to_groups) + self.members * self.to_groups
    }

    /// The mean number of devices that get a message at once: those of the other
    /// members who are online, and the sender's other devices.
    pub fn heard_by(&self) -> f64 {
        (self.filed_for() - 1.0) * self.online * self.devices + (self.devices - 1.0)
    }
}

impl Need {
    /// What so many users need, by the formula of `docs/CAPACITY.md`.
    pub fn of(users: f64, habits: &Habits, machines: &Machines) -> Self {
        let sessions = users * habits.online * habits.devices;
        let messages = users * habits.messages / DAY * habits.peak;
        let filings = messages * habits.filed_for();
        let deliveries = messages * habits.heard_by();
        let attaches = sessions * habits.attaches / DAY * habits.peak;
        let (direct, grouped) = (messages * (1.0 - habits.to_groups), messages * habits.to_groups);
        // For a group the share of each member; for a direct message both are in it.
        let by = |message: f64, filing: f64| direct * message + grouped * habits.members * filing;

        // Half of the gateways' work for a message is for its sender.
        let hearing = (cost::GATEWAY_MESSAGE.value / 2.0, cost::GATEWAY_DELIVERY.value);
        let to_direct = direct * (habits.online * habits.devices + habits.devices - 1.0);
        let gateway_cores = messages * cost::GATEWAY_MESSAGE.value / 2.0
            + to_direct * hearing.0
            + (deliveries - to_direct) * hearing.1
            + attaches * cost::GATEWAY_ATTACH.value;
        let router_cores = by(cost::ROUTER_MESSAGE.value, cost::ROUTER_DELIVERY.value)
            + attaches * cost::ROUTER_ATTACH.value;
        let redis_bytes = redis_bytes(users, sessions, habits);
        let redis = |message: f64| {
            let filing = cost::REDIS_DELIVERY.value * message / cost::REDIS_MESSAGE.value;
            (by(message, filing) + attaches * cost::REDIS_ATTACH.value) / 1e6
        };
        let room = machines.redis_cores * machines.filled;
        let at_once = redis(cost::REDIS_MESSAGE.value);
        // With one primary a post is one call, with more it goes step by step.
        let alone = at_once <= room && redis_bytes <= machines.redis_bytes;
        let redis_cores = if alone { at_once } else { redis(cost::REDIS_STEPS.value) };
        let primaries_for_cpu = if alone { 1.0 } else { (redis_cores / room).ceil().max(3.0) };
        let primaries = primaries_for_cpu.max((redis_bytes / machines.redis_bytes).ceil());

        let (gateway_cores, router_cores) = (gateway_cores / 1e6, router_cores / 1e6);
        let nodes = |cores: f64, of: f64, least: f64| {
            (cores / (of * machines.filled) * machines.spare).ceil().max(least)
        };
        let for_sessions = (sessions / machines.gateway_sessions * machines.spare).ceil();
        let body = habits.body;
        let client =
            messages * (cost::CLIENT_SEND.value + body) + deliveries * (cost::CLIENT_DELIVERY.value + body);
        let inner = messages * (cost::LINK_MESSAGE.value + cost::STORE_MESSAGE.value + 2.0 * body)
            + filings * cost::STORE_FILING.value
            + deliveries * (cost::BUS_MESSAGE.value + body);
        Self {
            users,
            sessions,
            messages,
            filings,
            deliveries,
            attaches,
            gateway_cores,
            router_cores,
            redis_cores,
            gateways: nodes(gateway_cores, machines.gateway_cores, 3.0).max(for_sessions),
            routers: nodes(router_cores, machines.router_cores, 3.0),
            primaries,
            primaries_for_cpu,
            gateway_bytes: sessions * cost::CONNECTION.value,
            redis_bytes,
            client_bits: client * 8.0,
            inner_bits: inner * 8.0,
        }
    }

    /// Streams between gateways and routers.
    pub fn links(&self) -> f64 {
        self.gateways * self.routers
    }
}

/// Logs, repeat keys, inboxes up to their bound, records and locations.
fn redis_bytes(users: f64, sessions: f64, habits: &Habits) -> f64 {
    let entries = (habits.messages * habits.filed_for() * habits.in_inboxes).min(10_000.0);
    let kept = (habits.messages * habits.kept).max(habits.conversations);
    let messages = kept * (cost::MESSAGE.value + habits.body);
    let repeats = habits.messages * 2.0 * cost::REPEAT_KEY.value;
    let record = cost::USER.value + entries * cost::INBOX_ENTRY.value;
    users * (record + messages + repeats) + sessions * cost::LOCATION.value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_the_users_are_ten_times_the_work() {
        let need = |users| Need::of(users, &Habits::default(), &Machines::default());
        let (small, large) = (need(1e7), need(1e8));
        for (one, ten) in [
            (small.messages, large.messages),
            (small.deliveries, large.deliveries),
            (small.gateway_cores, large.gateway_cores),
            (small.redis_bytes, large.redis_bytes),
        ] {
            assert!((ten / one - 10.0).abs() < 1e-6, "{one} {ten}");
        }
        // The streams between two kinds of process grow with both.
        let links = need(1e10).links() / need(1e9).links();
        assert!((links / 100.0 - 1.0).abs() < 0.02, "{links}");
    }

    #[test]
    fn direct_messages_between_people_who_are_all_online_cost_what_was_measured() {
        let habits = Habits {
            online: 1.0,
            devices: 1.0,
            to_groups: 0.0,
            attaches: 0.0,
            messages: DAY,
            peak: 1.0,
            ..Habits::default()
        };
        // A thousand users, each of whom sends a message a second.
        let need = Need::of(1_000.0, &habits, &Machines::default());
        assert!((need.messages - 1_000.0).abs() < 1e-6);
        assert!((need.deliveries - 1_000.0).abs() < 1e-6);
        assert!((need.gateway_cores - cost::GATEWAY_MESSAGE.value / 1e3).abs() < 1e-6);
        assert!((need.router_cores - cost::ROUTER_MESSAGE.value / 1e3).abs() < 1e-6);
        assert!((need.filings - 2_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_message_is_filed_for_all_members_and_heard_by_those_who_are_there() {
        let habits = Habits { online: 0.5, devices: 2.0, to_groups: 1.0, members: 11.0, ..Habits::default() };
        assert!((habits.filed_for() - 11.0).abs() < 1e-9);
        // Ten others, half of them online with two devices each, and the sender's
        // other device.
        assert!((habits.heard_by() - 11.0).abs() < 1e-9);
    }
}
