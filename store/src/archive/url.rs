//! The address of an archive, as the client library takes it.

use std::path::PathBuf;
use std::time::Duration;

use proto::SecretUrl;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::{Error, Result};

/// How long a connection may take to be made.
const CONNECTING: Duration = Duration::from_secs(2);

/// Fails where the URL is none of a PostgreSQL. The error does not quote it.
pub(crate) fn check(url: &SecretUrl) -> std::result::Result<(), String> {
    parse(url).map(|_| ()).map_err(|error| error.to_string())
}

/// An address, read.
pub(super) struct Address {
    pub(super) config: Config,
    /// The file with the authorities that sign the server's certificate; nothing:
    /// those of the machine.
    pub(super) authorities: Option<PathBuf>,
}

/// Reads the URL. TLS is used where it says `sslmode=require`, and then the
/// server's certificate is checked: by the machine's authorities, or by those in the
/// file `sslrootcert`.
pub(super) fn parse(url: &SecretUrl) -> Result<Address> {
    let mut parsed = url.url();
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        // The scheme is not quoted: what stands before a colon may be a password.
        return Err(Error::Config("no archive's URL: it begins with postgres://".into()));
    }
    let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
    let of = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let (authorities, has_mode) = (of("sslrootcert").map(PathBuf::from), of("sslmode").is_some());
    // The client library does not know this parameter.
    let others = pairs.iter().filter(|(key, _)| key != "sslrootcert");
    parsed.query_pairs_mut().clear().extend_pairs(others);
    let mut config: Config = parsed.as_str().parse().map_err(|_| {
        Error::Config(format!(
            "{url}: not a URL that a PostgreSQL can be found by: postgres://USER@HOST/DATABASE, and `sslmode` is \
             disable or require"
        ))
    })?;
    if !has_mode {
        config.ssl_mode(SslMode::Disable);
    }
    config.connect_timeout(CONNECTING).application_name("switchboard");
    Ok(Address { config, authorities })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> std::result::Result<(), String> {
        check(&text.parse().unwrap())
    }

    #[test]
    fn what_is_no_postgresql_is_refused_without_its_password() {
        for text in ["redis://u:secret@host", "postgres://u:secret@host?sslmode=secret"] {
            let wrong = check_text(text).unwrap_err();
            assert!(wrong.contains("postgres://") && !wrong.contains("secret"), "{wrong}");
        }
        assert_eq!(check_text("postgresql://u:secret@host:5433/db?sslmode=require"), Ok(()));
    }

    #[test]
    fn tls_is_used_where_the_url_says_so() {
        let mode = |text: &str| parse(&text.parse().unwrap()).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://host/db"), SslMode::Disable);
        assert_eq!(mode("postgres://host/db?sslmode=require"), SslMode::Require);
        let address =
            parse(&"postgres://host/db?sslmode=require&sslrootcert=/a%20b".parse().unwrap()).unwrap();
        assert_eq!(address.authorities, Some(PathBuf::from("/a b")));
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
    }
}
