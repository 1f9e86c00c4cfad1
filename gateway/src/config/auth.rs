//! Whose tokens are believed: a shared secret, public keys in files, keys
//! fetched from a URL. At least one, any of them together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use daemon::args::hidden;
use daemon::duration;
use proto::SecretUrl;
use url::Url;

use super::Wrong;

/// A shorter secret can be guessed (RFC 7518 §3.2 asks for the hash's size).
pub const MIN_SECRET_BYTES: usize = 32;

/// How far ahead a token's end may lie, unless a flag says otherwise.
pub const MAX_TOKEN_LIFE: &str = "366d";

/// The flags.
#[derive(Debug, Clone, clap::Args)]
pub struct AuthArgs {
    /// Tokens signed with this secret (HS256) are believed. Raw bytes, at
    /// least 32.
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET", value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,

    /// The same from a file, so that it stands in no environment. A line's end
    /// at the end does not belong to it.
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET_FILE", value_name = "FILE", conflicts_with = "jwt_secret")]
    pub jwt_secret_file: Option<PathBuf>,

    /// Tokens signed with this key's private half are believed: a PEM file
    /// with an RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA) public key. May be
    /// repeated, or separated by commas.
    #[arg(long, env = "SWITCHBOARD_JWT_PUBLIC_KEY", value_name = "FILE", value_delimiter = ',')]
    pub jwt_public_key: Vec<PathBuf>,

    /// Tokens signed by a key of this set (RFC 7517) are believed. Fetched at
    /// start and from time to time, and when a token names a new key. User and
    /// password in it are sent (Basic). Give --jwt-audience with it.
    #[arg(long, env = "SWITCHBOARD_JWKS_URL", value_name = "URL", value_parser = hidden::<JwksUrl>())]
    pub jwks_url: Option<JwksUrl>,

    /// Tokens must have one of these in `aud`. May be repeated, or separated by
    /// commas.
    #[arg(long, env = "SWITCHBOARD_JWT_AUDIENCE", value_name = "AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,

    /// Tokens must have one of these as `iss`. May be repeated, or separated by
    /// commas.
    #[arg(long, env = "SWITCHBOARD_JWT_ISSUER", value_name = "ISSUER", value_delimiter = ',')]
    pub jwt_issuer: Vec<String>,

    /// Tokens whose `exp` lies further ahead are refused: a token cannot be
    /// taken back.
    #[arg(long, env = "SWITCHBOARD_MAX_TOKEN_LIFE", default_value = MAX_TOKEN_LIFE, value_parser = duration::parse,
          value_name = "DURATION")]
    pub max_token_life: Duration,
}

/// Whose tokens are believed.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// For HS256.
    pub secret: Option<Secret>,
    /// For RS256, ES256 and EdDSA.
    pub public_keys: Vec<PublicKey>,
    /// Where more keys are.
    pub jwks: Option<JwksUrl>,
    /// Any of these; empty: not checked.
    pub audiences: Vec<String>,
    /// Any of these; empty: not checked.
    pub issuers: Vec<String>,
    /// How far ahead a token's end may lie.
    pub max_token_life: Duration,
    /// Where the secret was read from, if it came from a file.
    pub secret_file: Option<PathBuf>,
}

impl Default for AuthConfig {
    /// Believes nobody.
    fn default() -> Self {
        Self {
            secret: None,
            public_keys: Vec::new(),
            jwks: None,
            audiences: Vec::new(),
            issuers: Vec::new(),
            max_token_life: Duration::from_secs(366 * 86_400),
            secret_file: None,
        }
    }
}

/// Where a key set is: http or https. Not shown beyond its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl(SecretUrl);

impl JwksUrl {
    /// The whole, to be fetched.
    pub fn url(&self) -> Url {
        self.0.url()
    }
}

impl FromStr for JwksUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: SecretUrl = text.parse()?;
        if !matches!(url.url().scheme(), "http" | "https") {
            return Err("must be an http:// or https:// URL".to_owned());
        }
        Ok(Self(url))
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A file's content.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// Names the file in errors.
    pub path: PathBuf,
    /// What it holds.
    pub pem: Vec<u8>,
}

/// Raw bytes that are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes any bytes; [`AuthArgs::check`] looks at how many.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As long as it must be, or what is wrong, for the flag that gave it.
    pub fn long_enough(self) -> Result<Self, Wrong> {
        self.long_enough_for("--jwt-secret")
    }

    /// Reads what `--jwt-secret-file` names.
    pub fn read(file: &Path) -> Result<Self, Wrong> {
        let mut secret = std::fs::read(file)
            .map_err(|error| Wrong(format!("--jwt-secret-file: cannot read {}: {error}", file.display())))?;
        for end in [b'\n', b'\r'] {
            secret.pop_if(|last| *last == end);
        }
        Self(secret).long_enough_for("--jwt-secret-file")
    }

    fn long_enough_for(self, flag: &str) -> Result<Self, Wrong> {
        if self.0.len() >= MIN_SECRET_BYTES {
            return Ok(self);
        }
        Err(Wrong(format!(
            "{flag}: has {} bytes and needs at least {MIN_SECRET_BYTES} (for example from: openssl rand -hex 32)",
            self.0.len()
        )))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl AuthArgs {
    /// Whether nothing says whose tokens are believed.
    pub fn is_empty(&self) -> bool {
        self.jwt_secret.is_none()
            && self.jwt_secret_file.is_none()
            && self.jwt_public_key.is_empty()
            && self.jwks_url.is_none()
    }

    /// The checked `--max-token-life`.
    pub fn life(&self) -> Result<Duration, Wrong> {
        // Beyond a hundred years nobody means what they say.
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(36_525 * 86_400));
        super::limits::between("--max-token-life", self.max_token_life, least, most)
    }

    /// Reads the files and checks the rest.
    pub fn check(&self) -> Result<AuthConfig, Wrong> {
        if self.is_empty() {
            return Err(Wrong(
                "give at least one of --jwt-secret, --jwt-secret-file, --jwt-public-key and --jwks-url: without them \
                 nobody can connect"
                    .to_owned(),
            ));
        }
        let public_keys = self.jwt_public_key.iter().map(|path| {
            let pem = std::fs::read(path).map_err(|error| {
                Wrong(format!("--jwt-public-key: cannot read {}: {error}", path.display()))
            })?;
            Ok(PublicKey { path: path.clone(), pem })
        });
        Ok(AuthConfig {
            secret: secret(self.jwt_secret.as_ref(), self.jwt_secret_file.as_deref())?,
            public_keys: public_keys.collect::<Result<_, Wrong>>()?,
            jwks: self.jwks_url.clone(),
            audiences: self.jwt_audience.clone(),
            issuers: self.jwt_issuer.clone(),
            max_token_life: self.life()?,
            secret_file: self.jwt_secret_file.clone(),
        })
    }
}

/// The secret as a flag gives it or from the file that one names; nothing:
/// neither does.
pub fn secret(given: Option<&Secret>, file: Option<&Path>) -> Result<Option<Secret>, Wrong> {
    match (given, file) {
        (Some(secret), _) => secret.clone().long_enough().map(Some),
        (None, Some(file)) => Secret::read(file).map(Some),
        (None, None) => Ok(None),
    }
}
