//! TLS on the ways between our own processes, which both ends prove their part in:
//! a certificate of the cluster's own authority, for the cluster's name.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::args::heading;
use crate::check::{Checks, Finding};
use crate::pem_files::{Followed, Pem, PemFile, readable_by_all};
use crate::validity::Untimely;

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

    /// Whether there is to be TLS.
    pub fn is_given(&self) -> bool {
        self.internal_tls_cert.is_some()
    }

    /// Adds what the files are good for to the checks, where they are given; gives
    /// what was made of them.
    pub fn look(&self, checks: &mut Checks) -> Option<InternalTls> {
        const FLAG: &str = "--internal-tls-cert";
        match self.check() {
            Err(wrong) => {
                let (flag, why) = wrong.split_once(": ").unwrap_or((FLAG, &wrong));
                checks.found(flag.to_owned(), [Finding::fail(why)]);
                None
            }
            Ok(None) => None,
            Ok(Some(tls)) => {
                let found = tls.ends_soon().map(|why| Finding::warn(format!("the certificate {why}")));
                let ok = || Finding::ok("the certificate can be used with its key, and is of the authority");
                checks.found(FLAG, [found.unwrap_or_else(ok)]);
                checks.found("--internal-tls-key", readable_by_all(tls.key()).map(Finding::warn));
                Some(tls)
            }
        }
    }

    /// Fails where this process may not serve the others at this address: without
    /// TLS, beyond this machine. The error names `flag`, which said the address.
    pub fn check_port(&self, flag: &str, address: SocketAddr) -> Result<(), String> {
        if self.is_given() || self.internal_insecure || address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(format!(
            "{flag}: {address} can be reached from other machines: give --internal-tls-cert, --internal-tls-key and \
             --internal-tls-ca, or --internal-insecure where nobody else is in the network"
        ))
    }
}

/// What to warn of at the start of a process that serves the others at `port`, or
/// nowhere: what works, but not as one may think.
pub fn warnings(tls: Option<&InternalTls>, port: Option<SocketAddr>) -> Vec<String> {
    match (tls, port) {
        (Some(tls), _) => {
            let soon = tls.ends_soon().map(|why| format!("--internal-tls-cert: the certificate {why}"));
            let key = readable_by_all(tls.key()).map(|why| format!("--internal-tls-key: {why}"));
            soon.into_iter().chain(key).collect()
        }
        (None, Some(port)) if !port.ip().to_canonical().is_loopback() => {
            vec![format!("--internal-insecure: whoever reaches {port} can read and make up what clients say")]
        }
        (None, _) => Vec::new(),
    }
}

/// What is wrong with a URL of one of our processes whose scheme says TLS, or none,
/// against --internal-tls-cert.
pub fn wrong_scheme(tls: bool) -> &'static str {
    if tls {
        "needs --internal-tls-cert"
    } else {
        "must begin with https:// where --internal-tls-cert is given"
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
    /// Our own certificate.
    own: CertificateDer<'static>,
}

impl InternalTls {
    fn open(files: [PemFile; 3], name: &str) -> Result<Self, String> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| "--internal-tls-name: must be a DNS name, such as switchboard".to_owned())?;
        let own = name.clone();
        let ends = Followed::open(files, move |pems| Ends::of(pems, &own))?;
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

    /// That our own certificate should have been renewed, and when it ends.
    pub fn ends_soon(&self) -> Option<String> {
        let own = self.0.ends.now(|ends| ends.own.clone());
        match Untimely::of(&own, SystemTime::now())? {
            Untimely::Refused(why) | Untimely::EndsSoon(why) => Some(why),
        }
    }

    /// The private key's file.
    fn key(&self) -> &Path {
        let [_, key, _] = self.0.ends.files();
        &key.path
    }

    /// Follows the files while it is polled.
    pub async fn follow(self) {
        self.0.ends.follow().await;
    }
}

impl Ends {
    /// Fails where they do not belong together, or others would refuse the
    /// certificate now.
    fn of([certificate, key, authority]: &[Pem; 3], name: &ServerName<'_>) -> Result<Self, String> {
        let chain = certificate.certificates()?;
        let own = chain[0].clone();
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
        // What the others will do.
        let now = UnixTime::now();
        let refused =
            |error: rustls::Error| certificate.wrong(format_args!("our own processes refuse it: {error}"));
        verifier.verify_client_cert(&own, &chain[1..], now).map_err(refused)?;
        WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| authority.wrong(error))?
            .verify_server_cert(&own, &chain[1..], name, &[], now)
            .map_err(refused)?;
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
        // A session that is taken up again would not be asked for its certificate,
        // which may have ended since. There are few connections.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        client.resumption = Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client), own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(name: &str, authority: &str) -> Result<InternalTls, String> {
        let path = |file: String| PathBuf::from("../testbed/certificates").join(file);
        let (certificate, key) = (path(format!("{name}.cert.pem")), path(format!("{name}.key.pem")));
        let files = [
            PemFile::new("--internal-tls-cert", &certificate),
            PemFile::new("--internal-tls-key", &key),
            PemFile::new("--internal-tls-ca", &path(format!("{authority}.ca.pem"))),
        ];
        InternalTls::open(files, "switchboard")
    }

    #[test]
    fn a_certificate_that_the_others_would_refuse_is_refused_at_start() {
        assert!(open("ours", "ours").is_ok() && open("ours", "both").is_ok());
        for (name, authority, why) in [
            ("ended", "ours", "expired"),
            ("other", "ours", "not valid for name"),
            ("theirs", "ours", "UnknownIssuer"),
        ] {
            let wrong = open(name, authority).unwrap_err();
            assert!(wrong.starts_with("--internal-tls-cert: cannot use ") && wrong.contains(why), "{wrong}");
        }
    }

    #[test]
    fn without_tls_only_this_machine_is_served_unless_it_is_said() {
        let plain = InternalTlsArgs::default();
        let insecure = InternalTlsArgs { internal_insecure: true, ..plain.clone() };
        let port = |text: &str| -> SocketAddr { text.parse().unwrap() };
        for address in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(plain.check_port("--listen", port(address)), Ok(()));
            assert_eq!(warnings(None, Some(port(address))), Vec::<String>::new());
        }
        for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert!(plain.check_port("--listen", port(address)).unwrap_err().starts_with("--listen: "));
            assert_eq!(insecure.check_port("--listen", port(address)), Ok(()));
            assert_eq!(warnings(None, Some(port(address))).len(), 1);
        }
    }
}
