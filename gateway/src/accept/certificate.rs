//! The certificate that new connections get: the configured files are looked at
//! again and again, and what they hold replaces the old one when it is good.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, SharedLock};
use rustls::ServerConfig;

use crate::config::{Fingerprint, Pem, Tls, TlsFiles, Wrong};

/// Between two looks at the files. Contents are compared, not dates: mounted
/// secrets are swapped by a link, and copies may keep an old date.
const LOOK: Duration = Duration::from_secs(1);

/// The present certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    /// What the files held when the node was configured.
    first: Fingerprint,
    /// Replaced whole: connections that have begun keep theirs.
    server: SharedLock<LEAF, Arc<ServerConfig>>,
}

impl Certificate {
    pub(super) fn new(tls: Tls) -> Self {
        Self { files: tls.files, first: tls.seen, server: SharedLock::new(tls.server) }
    }

    /// For a connection that begins.
    pub(super) fn now(&self) -> Arc<ServerConfig> {
        self.server.read().clone()
    }

    /// Follows the files for as long as it is polled.
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
                // Also where only one of the two has been replaced yet: then
                // the next look finds the other.
                Err(Wrong(reason)) => tracing::error!(reason, "the old certificate stays"),
            }
        }
    }
}
