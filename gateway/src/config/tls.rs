//! The certificate that clients see (`--tls-cert`, `--tls-key`): both flags or
//! none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use daemon::args::heading;
use daemon::pem_files::{Followed, Pem, PemFile};
use daemon::validity::Untimely;
use rustls::ServerConfig;

use super::wrong::Wrong;

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = heading::TLS)]
pub struct TlsArgs {
    /// Serve clients over TLS with this certificate; needs --tls-key.
    ///
    /// A PEM file: the server's certificate first, then those between it and the
    /// root. The file is read again when it changes, without a restart.
    #[arg(long, env = "SWITCHBOARD_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert.
    ///
    /// A PEM file (PKCS#8, PKCS#1 or SEC1), read again when it changes.
    #[arg(long, env = "SWITCHBOARD_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

impl TlsArgs {
    /// Reads both files; nothing where there are none.
    pub fn check(&self) -> Result<Option<Tls>, Wrong> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Tls::open(certificate, key).map(Some),
            // Clap says it first; standalone's own callers may not have asked it.
            (Some(_), None) => Err(Wrong("--tls-key: missing, and --tls-cert is given".to_owned())),
            (None, Some(_)) => Err(Wrong("--tls-cert: missing, and --tls-key is given".to_owned())),
        }
    }
}

/// A certificate with its key, as the files have them now. Clones share everything.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Followed<Served, 2>>);

#[derive(Debug)]
struct Served {
    server: Arc<ServerConfig>,
    untimely: Option<Untimely>,
}

impl Tls {
    /// Reads a certificate and its key. Fails where they cannot be used together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, Wrong> {
        let files = [PemFile::new("--tls-cert", certificate), PemFile::new("--tls-key", key)];
        Ok(Self(Arc::new(Followed::open(files, Served::of).map_err(Wrong)?)))
    }

    /// For connections that begin now.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.0.now(|served| served.server.clone())
    }

    /// What is wrong with the time of the first such certificate of the file.
    pub fn untimely(&self) -> Option<Untimely> {
        self.0.now(|served| served.untimely.clone())
    }

    /// The file of `--tls-key`.
    pub fn key(&self) -> &Path {
        let [_, key] = self.0.files();
        &key.path
    }

    /// Follows the files while it is polled.
    pub async fn follow(&self) {
        self.0.follow().await;
    }
}

impl Served {
    /// Fails where the two do not belong together.
    fn of([certificate, key]: &[Pem; 2]) -> Result<Self, String> {
        let (chain, now) = (certificate.certificates()?, SystemTime::now());
        let untimely = chain.iter().find_map(|certificate| Untimely::of(certificate, now));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, key.key()?)
            .map_err(|error| key.wrong(format_args!("with the certificate of --tls-cert: {error}")))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(server), untimely })
    }
}
