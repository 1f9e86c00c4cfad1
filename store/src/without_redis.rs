//! In the place of [`redis`](crate) in a program that was built without it: each
//! fails and says so.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Bus, Config, Error, Look, Result, Store};

pub(crate) struct Redis;

impl Redis {
    pub(crate) async fn connect(_: Config, _: &TaskTracker, _: CancellationToken) -> Result<Arc<dyn Store>> {
        Err(left_out())
    }
}

pub(crate) async fn look(_: &Config) -> Result<Look> {
    Err(left_out())
}

pub(crate) async fn look_at_bus(_: &Config) -> Result<Look> {
    Err(left_out())
}

pub(crate) fn connect_bus(_: &Config, _: &TaskTracker, _: CancellationToken) -> Result<Arc<dyn Bus>> {
    Err(left_out())
}

fn left_out() -> Error {
    Error::Config("this program was built without Redis: build it with `--features redis`".into())
}
