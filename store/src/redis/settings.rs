//! What a Redis says of its version and its settings (`INFO`): which server cannot
//! be used, and which settings lose messages.

use crate::{Error, Result};

/// The oldest Redis with sharded channels and effects replication of scripts.
const OLDEST: u64 = 7;

/// A field of `INFO`, by its whole name.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The server's version; empty where it says none.
pub(super) fn version(info: &str) -> &str {
    field(info, "redis_version").unwrap_or_default()
}

/// Why a server is too old, if it is.
pub(super) fn too_old(info: &str) -> Option<String> {
    let version = field(info, "redis_version")?;
    let major: u64 = version.split('.').next()?.parse().ok()?;
    (major < OLDEST).then(|| format!("this is Redis {version}; version {OLDEST} or newer is needed"))
}

/// Fails with `Unavailable` where a replica answers.
pub(super) fn primary(info: &str) -> Result<()> {
    if field(info, "role") == Some("master") {
        return Ok(());
    }
    Err(Error::Unavailable("a replica answers instead of its primary".into()))
}

/// The settings that lose messages, each with what to change.
pub(super) fn warnings(info: &str, replicas: u32) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(policy) = field(info, "maxmemory_policy")
        && policy != "noeviction"
    {
        warnings.push(format!(
            "redis evicts keys when memory is short (maxmemory-policy {policy}): set maxmemory-policy noeviction"
        ));
    }
    if field(info, "aof_enabled") == Some("0") {
        warnings.push(
            "redis keeps no append-only file: messages since its last snapshot are lost when it ends: set appendonly \
             yes"
                .to_owned(),
        );
    }
    let connected: u32 = field(info, "connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0);
    if replicas > 0 && connected != replicas {
        warnings.push(format!(
            "--store-replicas is {replicas} and redis has {connected} replicas: with fewer nothing is acknowledged, \
             with more a replica that lacks acknowledged messages can become the primary"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_redis_is_refused_with_its_version() {
        assert!(too_old("# Server\r\nredis_version:6.2.7\r\n").unwrap().contains("6.2.7"));
        assert_eq!(too_old("redis_version:7.0.15\r\n"), None);
        assert_eq!(too_old("redis_version:10.0.0\r\n"), None);
    }

    #[test]
    fn fields_of_info_are_found_by_their_whole_name() {
        let info = "role:master\r\nmaster_replid2:00\r\nmaster_replid:ab\r\n";
        assert_eq!(field(info, "master_replid"), Some("ab"));
        assert_eq!(field(info, "slave"), None);
    }

    #[test]
    fn each_setting_that_loses_messages_is_named() {
        let good = "maxmemory_policy:noeviction\r\naof_enabled:1\r\nconnected_slaves:1\r\n";
        assert!(warnings(good, 0).is_empty() && warnings(good, 1).is_empty());
        let bad = "maxmemory_policy:allkeys-lru\r\naof_enabled:0\r\nconnected_slaves:1\r\n";
        let said = warnings(bad, 2);
        for (index, word) in
            ["maxmemory-policy noeviction", "appendonly yes", "--store-replicas is 2"].iter().enumerate()
        {
            assert!(said[index].contains(word), "{said:?}");
        }
        assert_eq!(said.len(), 3);
    }
}
