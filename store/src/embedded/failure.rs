//! Turns redb's errors into the store's.

use crate::Error;

/// Converts each of redb's error types through `redb::Error`, so that their
/// meaning is in one place.
macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::from(redb::Error::from(error))
            }
        }
    )*};
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::SetDurabilityError
);

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(what) => Self::Corrupt(what),
            redb::Error::UpgradeRequired(version) => {
                Self::Corrupt(format!("the file has the old format {version} of its database"))
            }
            redb::Error::DatabaseAlreadyOpen => {
                Self::Config("the folder of the embedded store is in use by another process".into())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}
