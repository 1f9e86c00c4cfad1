//! What takes the memory of the Redis that was started for a run: its keys, by their
//! kind (ARCHITECTURE.md, *What is stored*).

use std::time::Duration;

use anyhow::{Context as _, Result};
use testbed::resp::Reply;

use super::{Servers, ask_redis};
use crate::summary::{KeyKind, Stored};

/// Returns the kind, count, elements and bytes of all keys of each kind. One call, so
/// that nothing moves meanwhile.
const LOOK: &str = "
local count = {list = 'LLEN', hash = 'HLEN', set = 'SCARD', zset = 'ZCARD'}
local kinds, cursor = {}, '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local name = string.match(key, '^{[^}]*}([^:]*)') or key
    local kind = kinds[name] or {0, 0, 0}
    local how = count[redis.call('TYPE', key).ok]
    kind[1], kind[2] = kind[1] + 1, kind[2] + (how and redis.call(how, key) or 1)
    kind[3] = kind[3] + redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0')
    kinds[name] = kind
  end
until cursor == '0'
local rows = {}
for name, kind in pairs(kinds) do rows[#rows + 1] = {name, kind[1], kind[2], kind[3]} end
return rows
";
/// For some million keys.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks at it; Redis does nothing else meanwhile. Fails where none was started.
pub async fn look(servers: &Servers) -> Result<Stored> {
    let port = servers.redis_port.context("no Redis was started for this run")?;
    let rows = ask_redis(port, &["EVAL", LOOK, "0"], PATIENCE).await?;
    let rows = rows.items().iter().map(|row| row_of(row.items()).context("a kind of keys"));
    let mut kinds: Vec<KeyKind> = rows.collect::<Result<_>>()?;
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
    Ok(Stored { kinds })
}

fn row_of(row: &[Reply]) -> Option<KeyKind> {
    let [name, keys, elements, bytes] = row else { return None };
    let number = |reply: &Reply| reply.integer().and_then(|number| u64::try_from(number).ok());
    Some(KeyKind {
        name: name.text()?.to_owned(),
        keys: number(keys)?,
        elements: number(elements)?,
        bytes: number(bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use testbed::RedisServer;

    use super::*;
    use crate::token::Issuer;
    use crate::workload::Kind;

    #[tokio::test]
    async fn keys_are_counted_by_kind_the_largest_first() {
        let redis = RedisServer::start().await.unwrap();
        let long = "x".repeat(100);
        for command in [
            ["RPUSH", "{1}i:alice", &long, &long].as_slice(),
            &["RPUSH", "{2}i:bob", &long],
            &["SET", "{1}s:alice", "0"],
            &["ZADD", "{sb}nodes", "1", "one", "2", "two"],
        ] {
            redis.command(command).await.unwrap().ok().unwrap();
        }
        let servers = Servers {
            kind: Kind::Switchboard,
            gateways: Vec::new(),
            issuer: Issuer::new("nobody asks"),
            processes: Vec::new(),
            redis_port: Some(redis.port()),
        };
        let stored = look(&servers).await.unwrap();
        let counts: Vec<_> =
            stored.kinds.iter().map(|kind| (&*kind.name, kind.keys, kind.elements)).collect();
        assert_eq!(counts[0], ("i", 2, 3));
        assert!(counts.contains(&("s", 1, 1)) && counts.contains(&("nodes", 1, 2)) && counts.len() == 3);
        assert!(stored.kinds[0].bytes > 300, "{stored:?}");
        assert!(look(&Servers { redis_port: None, ..servers }).await.is_err());
    }
}
