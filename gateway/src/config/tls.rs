//! The certificate that clients see (`--tls-cert`, `--tls-key`): both flags or
//! none, and the files read as often as asked, so that a renewed certificate
//! needs no restart.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use daemon::args::heading;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Untimely, Wrong};

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

/// A certificate with its key, and the files that they came from.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where they came from.
    pub files: TlsFiles,
    /// What the files held.
    pub seen: Fingerprint,
    /// For connections that begin now.
    pub server: Arc<ServerConfig>,
    /// What is wrong with the time of the first such certificate of the file.
    pub untimely: Option<Untimely>,
}

/// `--tls-cert` and `--tls-key`.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// Differs when the contents differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// The bytes of both files.
pub struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads a certificate and its key. Fails where they cannot be used together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, Wrong> {
        let files = TlsFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        let pem = files.read()?;
        let server = files.parse(&pem)?;
        Ok(Self { files, seen: pem.fingerprint(), server, untimely: pem.untimely(SystemTime::now()) })
    }
}

impl TlsFiles {
    /// `--tls-key`.
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Reads both files. Blocks. Fails with the flag of a file that cannot be read.
    pub fn read(&self) -> Result<Pem, Wrong> {
        let read =
            |flag, path: &Path| std::fs::read(path).map_err(|error| wrong(flag, "cannot read", path, &error));
        Ok(Pem { certificate: read("--tls-cert", &self.certificate)?, key: read("--tls-key", &self.key)? })
    }

    /// What is in them. Fails where the two do not belong together.
    pub fn parse(&self, pem: &Pem) -> Result<Arc<ServerConfig>, Wrong> {
        let chain = CertificateDer::pem_slice_iter(&pem.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong("--tls-cert", "cannot use", &self.certificate, &error))?;
        if chain.is_empty() {
            return Err(wrong(
                "--tls-cert",
                "cannot use",
                &self.certificate,
                &"it has no certificate in PEM",
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|_| {
            // The parser's own words may quote the file.
            wrong("--tls-key", "cannot use", &self.key, &"it has no private key in PEM")
        })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| {
                wrong(
                    "--tls-key",
                    "cannot use",
                    &self.key,
                    &format_args!("with the certificate of --tls-cert: {error}"),
                )
            })?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(server))
    }
}

impl Pem {
    fn untimely(&self, now: SystemTime) -> Option<Untimely> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate).filter_map(Result::ok);
        chain.into_iter().find_map(|certificate| Untimely::of(&certificate, now))
    }

    /// To be compared with an earlier one.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        (&self.certificate, &self.key).hash(&mut hasher);
        Fingerprint(hasher.finish())
    }
}

fn wrong(flag: &str, verb: &str, path: &Path, reason: &dyn fmt::Display) -> Wrong {
    Wrong(format!("{flag}: {verb} {}: {reason}", path.display()))
}
