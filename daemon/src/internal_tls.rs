//! TLS on the ways between our own processes, which both ends prove their part in:
//! a certificate of the cluster's own authority, for the cluster's name.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::args::heading;
use crate::pem_files::{Followed, Pem, PemFile};

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = heading::INTERNAL)]
pub struct InternalTlsArgs {
    /// This process's certificate on the ways between our own processes.
    ///
    /// A PEM file: the certificate first, then those between it and the authority of
    /// --internal-tls-ca. It is used to serve and to connect, so where it names uses
    /// it names both. Read again when it changes, as are the other two.
    #[arg(long, env = "SWITCHBOARD_INTERNAL_TLS_CERT", value_name = "FILE", requires = "internal_tls_key")]
    pub internal_tls_cert: Option<PathBuf>,

    /// The private key of --internal-tls-cert.
    ///
    /// A PEM file (PKCS#8, PKCS#1 or SEC1).
    #[arg(long, env = "SWITCHBOARD_INTERNAL_TLS_KEY", value_name = "FILE", requires = "internal_tls_ca")]
    pub internal_tls_key: Option<PathBuf>,

    /// The authority whose certificates our own processes have.
    ///
    /// A PEM file with one certificate or several. It should sign for this cluster
    /// alone.
    #[arg(long, env = "SWITCHBOARD_INTERNAL_TLS_CA", value_name = "FILE", requires = "internal_tls_cert")]
    pub internal_tls_ca: Option<PathBuf>,

    /// The name that the certificate of each of our processes is for.
    ///
    /// A DNS name. One for all of them: they are reached at addresses that change.
    #[arg(long, env = "SWITCHBOARD_INTERNAL_TLS_NAME", value_name = "NAME", default_value = "switchboard")]
    pub internal_tls_name: String,

    /// Let our own processes talk beyond this machine without TLS.
    ///
    /// Whoever reaches such a port can read and make up what clients say. Only for a
    /// network that nobody else is in.
    #[arg(long, env = "SWITCHBOARD_INTERNAL_INSECURE")]
    pub internal_insecure: bool,
}

impl InternalTlsArgs {
    /// Reads the files; nothing where none is named. The error names the flag.
    pub fn check(&self) -> Result<Option<InternalTls>, String> {
        let (Some(certificate), Some(key), Some(authority)) =
            (&self.internal_tls_cert, &self.internal_tls_key, &self.internal_tls_ca)
        else {
            // Clap lets none of them come alone.
            return Ok(None);
        };
        let files = [
            PemFile::new("--internal-tls-cert", certificate),
            PemFile::new("--internal-tls-key", key),
            PemFile::new("--internal-tls-ca", authority),
        ];
        InternalTls::open(files, &self.internal_tls_name).map(Some)
    }

    /// Whether this process may serve the others at this address without TLS. The
    /// error names `flag`, which said the address.
    pub fn allows_plain(&self, flag: &str, address: SocketAddr) -> Result<(), String> {
        if self.internal_insecure || address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(format!(
            "{flag}: {address} can be reached from other machines: give --internal-tls-cert, --internal-tls-key and \
             --internal-tls-ca, or --internal-insecure where nobody else is in the network"
        ))
    }
}

/// Both ends of such a way. Clones share everything.
#[derive(Debug, Clone)]
pub struct InternalTls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What the certificate of the other end is for.
    name: ServerName<'static>,
    ends: Followed<Ends, 3>,
}

#[derive(Debug)]
struct Ends {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl InternalTls {
    fn open(files: [PemFile; 3], name: &str) -> Result<Self, String> {
        let ends = Followed::open(files, Ends::of)?;
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| "--internal-tls-name: must be a DNS name, such as switchboard".to_owned())?;
        Ok(Self(Arc::new(Shared { name, ends })))
    }

    /// The serving end of a new connection. Fails where the other one is none of
    /// ours.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        let server = self.0.ends.now(|ends| ends.server.clone());
        let stream = TlsAcceptor::from(server).accept(stream).await?;
        // Of a server's certificate rustls looks at the name, of a client's it does not.
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.ok_or_else(|| io::Error::other("no certificate"))?;
        let parsed = ParsedCertificate::try_from(certificate).map_err(io::Error::other)?;
        verify_server_name(&parsed, &self.0.name).map_err(io::Error::other)?;
        Ok(stream)
    }

    /// The end that connects.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<client::TlsStream<TcpStream>> {
        let client = self.0.ends.now(|ends| ends.client.clone());
        TlsConnector::from(client).connect(self.0.name.clone(), stream).await
    }

    /// The private key's file.
    pub fn key(&self) -> &Path {
        let [_, key, _] = self.0.ends.files();
        &key.path
    }

    /// Follows the files while it is polled.
    pub async fn follow(self) {
        self.0.ends.follow().await;
    }
}

impl Ends {
    fn of([certificate, key, authority]: &[Pem; 3]) -> Result<Self, String> {
        let chain = certificate.certificates()?;
        let private = key.key()?;
        let mut roots = RootCertStore::empty();
        for root in authority.certificates()? {
            roots.add(root).map_err(|error| authority.wrong(error))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| authority.wrong(error))?;
        let pair = |error: rustls::Error| {
            key.wrong(format_args!("with the certificate of --internal-tls-cert: {error}"))
        };
        let versions = "the provider has suites for this version";
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect(versions)
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(pair)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect(versions)
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .map_err(pair)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}
