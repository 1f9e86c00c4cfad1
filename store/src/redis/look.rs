//! One look at a Redis, for a check of a configuration: whether it answers, what
//! it is, and whether what a program needs there works. Nothing is written.

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::connection::Connection;
use super::settings;
use super::subscription;
use super::upkeep::Upkeep;
use crate::trouble::{self, Trouble};
use crate::{Config, Error, Look, Result};

/// A connection for one look; it ends with the guard.
struct Eye {
    address: Address,
    connection: Connection,
    upkeep: Upkeep,
    _end: DropGuard,
}

/// As a router uses it: a primary that is new enough and runs scripts.
pub(crate) async fn look(config: &Config) -> Result<Look> {
    let eye = Eye::open(config, &trouble::STORE).await?;
    let infos = eye.upkeep.info("all").await?;
    let look = eye.judge(&infos, config.replicas)?;
    eye.upkeep.look_who_lives().await?;
    Ok(look)
}

/// As a gateway uses it: what is published is heard. Its Redis user may lack the
/// right to ask for settings; the routers look at those.
pub(crate) async fn look_at_bus(config: &Config) -> Result<Look> {
    let eye = Eye::open(config, &trouble::BUS).await?;
    let look = match eye.upkeep.info("all").await {
        Ok(infos) => eye.judge(&infos, 0)?,
        Err(error) if trouble::Reason::of(&error.to_string()) == trouble::Reason::Permission => {
            Look { what: "Redis answers".to_owned(), warnings: Vec::new() }
        }
        Err(error) => return Err(error),
    };
    subscription::hear_once(&eye.address, &eye.connection).await?;
    Ok(look)
}

impl Eye {
    async fn open(config: &Config, trouble: &'static Trouble) -> Result<Self> {
        let address = Address::of(config)?;
        let end = CancellationToken::new();
        let connection = Connection::open(&address, trouble, &TaskTracker::new(), &end);
        let upkeep = Upkeep::new(connection.clone());
        let eye = Self { address, connection, upkeep, _end: end.drop_guard() };
        eye.connection.connected(config.timeout).await?;
        Ok(eye)
    }

    fn judge(&self, infos: &[String], replicas: u32) -> Result<Look> {
        if let Some(refusal) = infos.iter().find_map(|info| settings::too_old(info)) {
            return Err(Error::Config(refusal));
        }
        infos.iter().try_for_each(|info| settings::primary(info))?;
        let version = infos.first().map(|info| settings::version(info)).unwrap_or_default();
        let what = match self.address.is_cluster() {
            true => format!("Redis {version} answers, a Cluster of {} primaries", infos.len()),
            false => format!("Redis {version} answers"),
        };
        let mut warnings: Vec<String> =
            infos.iter().flat_map(|info| settings::warnings(info, replicas)).collect();
        // Primaries of one Cluster have the same settings most often.
        warnings.sort_unstable();
        warnings.dedup();
        Ok(Look { what, warnings })
    }
}
