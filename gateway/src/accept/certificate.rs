//! The TLS certificate of new connections. The configured files are read again
//! each second; when their content has changed and is valid, it replaces the
//! old certificate.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, SharedLock};
use rustls::ServerConfig;

use crate::config::{Fingerprint, Pem, Tls, TlsFiles, Wrong};

/// The time between two readings of the files. Contents are compared, not
/// dates: mounted secrets are replaced through a symbolic link, and copies may
/// keep an old date.
const LOOK: Duration = Duration::from_secs(1);

/// The present certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    /// What the files contained when the node was configured.
    first: Fingerprint,
    /// Replaced as a whole: open connections keep the old one.
    server: SharedLock<LEAF, Arc<ServerConfig>>,
}

impl Certificate {
    pub(super) fn new(tls: Tls) -> Self {
        Self { files: tls.files, first: tls.seen, server: SharedLock::new(tls.server) }
    }

    /// The certificate for a new connection.
    pub(super) fn now(&self) -> Arc<ServerConfig> {
        self.server.read().clone()
    }

    /// Follows the files while it is polled.
    pub(super) async fn follow(&self) {
        let mut seen = Ok(self.first);
        loop {
            tokio::time::sleep(LOOK).await;
            let files = self.files.clone();
            let Ok(pem) = tokio::task::spawn_blocking(move || files.read()).await else { continue };
            let now = pem.as_ref().map(Pem::fingerprint).map_err(Clone::clone);
            if now == seen {
                continue;
            }
            seen = now;
            match pem.and_then(|pem| self.files.parse(&pem)) {
                Ok(server) => {
                    *self.server.write() = server;
                    tracing::info!("new connections get the new certificate");
                }
                // This also happens when only one of the two files is replaced
                // yet: the next reading finds the other.
                Err(Wrong(reason)) => tracing::error!(reason, "the old certificate stays"),
            }
        }
    }
}
