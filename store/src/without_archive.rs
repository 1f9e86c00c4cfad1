//! In the place of the archive in a program that was built without Redis: each
//! fails and says so.

use proto::SecretUrl;

use crate::{ArchiveConfig, Error, Look, Result};

const LEFT_OUT: &str =
    "this program was built without Redis, and an archive is for that: build it with `--features redis`";

pub(crate) fn check(_: &SecretUrl) -> std::result::Result<(), String> {
    Err(LEFT_OUT.to_owned())
}

pub(crate) async fn look(_: &ArchiveConfig) -> Result<Look> {
    Err(Error::Config(LEFT_OUT.to_owned()))
}
