//! redis-server as tests need it: alone, as a Cluster, with Sentinel.

pub(crate) mod cluster;
pub(crate) mod sentinel;
pub(crate) mod server;
