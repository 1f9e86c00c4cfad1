//! Connections to the archive. Whatever is asked of it ends within a limit of
//! time, and while it is away nobody waits for it.

use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, RecyclingMethod};
use refinery::{Migration, Runner};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};

use super::tls::Tls;
use super::url::{self, Address};
use crate::{ArchiveConfig, Error, Look, Result};

/// How long a read may take.
pub(super) const READ: Duration = Duration::from_secs(1);
/// How long copying a batch may take.
pub(super) const WRITE: Duration = Duration::from_secs(20);
/// After a failed read nobody but the copier asks it for this long, unless the copier
/// has found it well before: readers fail at once instead of waiting.
const REST: Duration = Duration::from_secs(10);
/// How often the tables are tried to be made: other processes may do so at the same
/// moment, and of two one fails, first at the table of migrations and then at each of
/// those.
const TRIES: u32 = 4;
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(4);

/// The server's version, and whether tables may be made.
const ABOUT: &str =
    "SELECT current_setting('server_version'), has_schema_privilege(current_schema(), 'CREATE')";

/// The connections.
pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    /// Whether this process has seen that the tables are there.
    prepared: Mutex<bool>,
    /// Until when readers do not ask it. Locked only for single lines.
    rests: StdMutex<Option<Instant>>,
}

impl Pool {
    pub(super) fn open(config: &ArchiveConfig) -> Result<Self> {
        let (prepared, rests) = (Mutex::default(), StdMutex::default());
        Ok(Self { connections: connections(config)?, prepared, rests })
    }

    /// Reads something. Fails at once while the archive rests.
    pub(super) async fn read<T>(
        &self,
        what: impl AsyncFnOnce(&Client) -> std::result::Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        let until = *self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| Instant::now() < until) {
            return Err(Error::Archive("it did not answer lately".into()));
        }
        let answer =
            self.within(READ, async |client: &mut Client| what(client).await.map_err(|error| said(&error)));
        let answer = answer.await;
        self.rest(answer.is_err().then(|| Instant::now() + REST));
        answer
    }

    /// Writes something. An archive that takes nothing more can still be read, so a
    /// failure says nothing to readers.
    pub(super) async fn write<T>(
        &self,
        what: impl AsyncFnOnce(&mut Client) -> std::result::Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        let answer = self.within(WRITE, async |client: &mut Client| {
            self.prepare(client).await?;
            what(client).await.map_err(|error| said(&error))
        });
        let answer = answer.await;
        if answer.is_ok() {
            self.rest(None);
        }
        answer
    }

    fn rest(&self, until: Option<Instant>) {
        *self.rests.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Lends a connection. One that did not answer in time is closed: what was
    /// asked may still be under way on it.
    async fn within<T>(
        &self,
        limit: Duration,
        what: impl AsyncFnOnce(&mut Client) -> Result<T>,
    ) -> Result<T> {
        let mut lent = None;
        let asked = async {
            let connection = lent.insert(self.connections.get().await.map_err(|error| said(&error))?);
            what(connection).await
        };
        match timeout(limit, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                if let Some(connection) = lent {
                    drop(Object::take(connection));
                }
                Err(Error::Archive(format!("no answer within {limit:?}")))
            }
        }
    }

    /// Makes the tables where they are missing.
    async fn prepare(&self, client: &mut Client) -> Result<()> {
        let mut prepared = self.prepared.lock().await;
        if !*prepared {
            let mut left = TRIES;
            while let Err(error) = migrations()?.run_async(client).await {
                left -= 1;
                if left == 0 {
                    return Err(said(&error));
                }
            }
            *prepared = true;
        }
        Ok(())
    }
}

/// At most as many as the configuration says; none is made yet.
fn connections(config: &ArchiveConfig) -> Result<deadpool_postgres::Pool> {
    let Address { config: address, authorities } = url::parse(config.url.secret())?;
    let method = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match address.get_ssl_mode() {
        SslMode::Disable => Manager::from_config(address, NoTls, method),
        _ => Manager::from_config(address, Tls::new(authorities.as_deref())?, method),
    };
    deadpool_postgres::Pool::builder(manager)
        .max_size(config.connections.max(1))
        .build()
        .map_err(|error| Error::Config(error.to_string()))
}

fn migrations() -> Result<Runner> {
    let first = Migration::unapplied("V1__entries", include_str!("migrations/V1__entries.sql"));
    let first = first.map_err(|error| Error::Config(error.to_string()))?;
    let mut runner = Runner::new(&[first]);
    runner.set_migration_table_name("switchboard_migrations");
    Ok(runner)
}

/// An error with its causes: PostgreSQL's own message is one of them.
fn said(error: &dyn std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    Error::Archive(text)
}

/// One look at an archive: whether it answers, and which PostgreSQL it is. Nothing
/// is written to it.
pub(crate) async fn look(config: &ArchiveConfig) -> Result<Look> {
    let connections = connections(config)?;
    let asked = async {
        let client = connections.get().await.map_err(|error| said(&error))?;
        let row = client.query_one(ABOUT, &[]).await.map_err(|error| said(&error))?;
        let (version, may_create): (String, bool) = (row.get(0), row.get(1));
        let mut warnings = Vec::new();
        if !may_create {
            warnings.push("its user may not make tables: GRANT CREATE ON SCHEMA to it".to_owned());
        }
        Ok(Look { what: format!("PostgreSQL {version} answers"), warnings })
    };
    match timeout(LOOK, asked).await {
        Ok(looked) => looked,
        Err(_) => Err(Error::Archive(format!("no answer within {LOOK:?}"))),
    }
}
