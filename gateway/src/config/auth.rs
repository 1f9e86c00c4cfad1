//! Whose tokens are believed: a shared secret, public keys in files, keys
//! fetched from a URL. At least one, any of them together.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::Wrong;

/// A shorter secret can be guessed (RFC 7518 §3.2 asks for the hash's size).
pub const MIN_SECRET_BYTES: usize = 32;

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AuthArgs {
    /// Tokens signed with this secret (HS256) are believed. Raw bytes, at
    /// least 32.
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET", value_name = "SECRET", hide_env_values = true)]
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
    /// start and from time to time, and when a token names a new key.
    #[arg(long, env = "SWITCHBOARD_JWKS_URL", value_name = "URL")]
    pub jwks_url: Option<String>,

    /// Tokens must have one of these in `aud`. May be repeated, or separated by
    /// commas.
    #[arg(long, env = "SWITCHBOARD_JWT_AUDIENCE", value_name = "AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,

    /// Tokens must have one of these as `iss`. May be repeated, or separated by
    /// commas.
    #[arg(long, env = "SWITCHBOARD_JWT_ISSUER", value_name = "ISSUER", value_delimiter = ',')]
    pub jwt_issuer: Vec<String>,
}

/// Whose tokens are believed.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// For HS256.
    pub secret: Option<Secret>,
    /// For RS256, ES256 and EdDSA.
    pub public_keys: Vec<PublicKey>,
    /// Where more keys are.
    pub jwks: Option<Url>,
    /// Any of these; empty: not checked.
    pub audiences: Vec<String>,
    /// Any of these; empty: not checked.
    pub issuers: Vec<String>,
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
            jwks: self.jwks_url.as_deref().map(jwks).transpose()?,
            audiences: self.jwt_audience.clone(),
            issuers: self.jwt_issuer.clone(),
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

fn jwks(text: &str) -> Result<Url, Wrong> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| Wrong("--jwks-url: must be an http:// or https:// URL".to_owned()))
}
