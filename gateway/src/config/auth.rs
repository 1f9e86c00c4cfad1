//! Whose tokens are believed: those signed with a shared secret, with keys in
//! files, or with keys that are fetched from a URL. At least one of the three,
//! and any of them together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use daemon::args::{heading, hidden, in_file};
use daemon::duration;
use daemon::pem_files::readable_by_all;
use proto::{MAX_PATTERNS, Names, Pattern, SecretUrl};
use url::Url;

use super::wrong::{Wrong, between};
use crate::protocol::permissions::Permissions;

/// A shorter secret can be guessed (RFC 7518 §3.2 asks for the hash's size).
pub const MIN_SECRET_BYTES: usize = 32;

/// How far ahead a token's end may lie, unless a flag says otherwise.
pub const MAX_TOKEN_LIFE: &str = "366d";

/// By how much clocks may differ (PROTOCOL.md §3): a token is believed for so long
/// after its end, also in a live session.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(5);

/// The flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = heading::TOKENS)]
pub struct AuthArgs {
    /// Believe tokens that are signed with this secret (HS256).
    ///
    /// Raw bytes, 32 at least. `openssl rand -hex 32` makes one.
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET", value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,

    /// The same secret, read from a file.
    ///
    /// One line's end at the end of the file is not part of the secret.
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET_FILE", value_name = "FILE", conflicts_with = "jwt_secret")]
    pub jwt_secret_file: Option<PathBuf>,

    /// Believe tokens that are signed with the private half of this key.
    ///
    /// A PEM file with one public key: RSA (RS256), P-256 (ES256) or Ed25519
    /// (EdDSA). May be given several times, or as a list with commas.
    #[arg(long, env = "SWITCHBOARD_JWT_PUBLIC_KEY", value_name = "FILE", value_delimiter = ',')]
    pub jwt_public_key: Vec<PathBuf>,

    /// Believe tokens that are signed by a key of the set at this URL.
    ///
    /// http or https, a JSON Web Key Set (RFC 7517). It is fetched at start,
    /// every 15 minutes, and when a token names a key that is not known. User
    /// and password in the URL are sent (Basic). Give --jwt-audience with it.
    #[arg(long, env = "SWITCHBOARD_JWKS_URL", value_name = "URL", value_parser = hidden::<JwksUrl>())]
    pub jwks_url: Option<JwksUrl>,

    /// The same URL, read from a file: for one with a password.
    ///
    /// One line's end at the end of the file is not part of it.
    #[arg(long, env = "SWITCHBOARD_JWKS_URL_FILE", value_name = "FILE", value_parser = in_file::<JwksUrl>(),
          conflicts_with = "jwks_url")]
    pub jwks_url_file: Option<JwksUrl>,

    /// Refuse tokens that do not have this in `aud`.
    ///
    /// May be given several times, or as a list with commas: one of them is
    /// enough. Without it `aud` is not looked at.
    #[arg(long, env = "SWITCHBOARD_JWT_AUDIENCE", value_name = "AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,

    /// Refuse tokens that do not have this as `iss`.
    ///
    /// May be given several times, or as a list with commas: one of them is
    /// enough. Without it `iss` is not looked at.
    #[arg(long, env = "SWITCHBOARD_JWT_ISSUER", value_name = "ISSUER", value_delimiter = ',')]
    pub jwt_issuer: Vec<String>,

    /// Refuse tokens that end later than this from now.
    ///
    /// A user's revocation is kept for so long. From 1s to 36525d.
    #[arg(long, env = "SWITCHBOARD_MAX_TOKEN_LIFE", default_value = MAX_TOKEN_LIFE, value_parser = duration::parse,
          value_name = "DURATION")]
    pub max_token_life: Duration,

    /// The channels that every user may subscribe to.
    ///
    /// Names, or beginnings of names with `*` behind them: c_news,c_public.*. Others
    /// stand in the claim `subscribe` of the tokens that allow them. May be given
    /// several times, or as a list with commas. The default is every channel; `none`
    /// is only what tokens claim.
    #[arg(
        long,
        env = "SWITCHBOARD_ALLOW_SUBSCRIBE",
        default_value = "*",
        value_delimiter = ',',
        value_name = "CHANNEL"
    )]
    pub allow_subscribe: Vec<Pattern>,

    /// The users whose presence every user may see.
    ///
    /// Names, or beginnings of names with `*` behind them. Others stand in the claim
    /// `presence` of the tokens that allow them. May be given several times, or as a
    /// list with commas. The default is everybody; `none` is only what tokens claim.
    #[arg(
        long,
        env = "SWITCHBOARD_ALLOW_PRESENCE",
        default_value = "*",
        value_delimiter = ',',
        value_name = "USER"
    )]
    pub allow_presence: Vec<Pattern>,
}

/// Whose tokens are believed.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// The secret with which HS256 signatures are verified.
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
    /// What every token allows.
    pub everybody: Permissions,
    /// Where the secret was read from, if it came from a file.
    pub secret_file: Option<PathBuf>,
}

impl Default for AuthConfig {
    /// Settings without a key: no token is believed.
    fn default() -> Self {
        Self {
            secret: None,
            public_keys: Vec::new(),
            jwks: None,
            audiences: Vec::new(),
            issuers: Vec::new(),
            max_token_life: Duration::from_secs(366 * 86_400),
            everybody: Permissions::default(),
            secret_file: None,
        }
    }
}

impl AuthConfig {
    /// The warning where there is a key set and no audience.
    pub const NO_AUDIENCE: &str = "--jwks-url is given without --jwt-audience: tokens that its keys sign for any \
                                   other service are believed here, too";

    /// What works, but not as one may think; each names its flag.
    pub fn warnings(&self) -> Vec<String> {
        let readable = self.secret_file.as_deref().and_then(readable_by_all);
        let no_audience = self.jwks.is_some() && self.audiences.is_empty();
        let readable = readable.map(|why| format!("--jwt-secret-file: {why}"));
        readable.into_iter().chain(no_audience.then(|| Self::NO_AUDIENCE.to_owned())).collect()
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

impl PublicKey {
    /// Reads the file; whether it holds a key is found by the authenticator.
    pub fn read(path: &Path) -> Result<Self, Wrong> {
        let pem = std::fs::read(path)
            .map_err(|error| Wrong(format!("--jwt-public-key: cannot read {}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), pem })
    }
}

/// Raw bytes that are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes any bytes; [`AuthArgs::check`] looks at how many.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The secret's bytes, as they go into HMAC.
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
    /// The URL of the key set, wherever it was given.
    pub fn jwks_url(&self) -> Option<&JwksUrl> {
        self.jwks_url.as_ref().or(self.jwks_url_file.as_ref())
    }

    /// What is wrong where [`Self::is_empty`].
    pub const NONE: &str = "give at least one of --jwt-secret, --jwt-secret-file, --jwt-public-key and --jwks-url: \
                            without them nobody can connect";

    /// Whether nothing says whose tokens are believed.
    pub fn is_empty(&self) -> bool {
        self.jwt_secret.is_none()
            && self.jwt_secret_file.is_none()
            && self.jwt_public_key.is_empty()
            && self.jwks_url().is_none()
    }

    /// The checked `--max-token-life`.
    pub fn life(&self) -> Result<Duration, Wrong> {
        // Beyond a hundred years nobody means what they say.
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(36_525 * 86_400));
        between("--max-token-life", self.max_token_life, least, most)
    }

    /// What counts for every token, whoever signs it; nobody is believed. `aud` and
    /// `iss` are not checked.
    pub fn without_keys(&self) -> Result<AuthConfig, Wrong> {
        Ok(AuthConfig {
            max_token_life: self.life()?,
            everybody: Permissions {
                subscribe: names("--allow-subscribe", &self.allow_subscribe)?,
                presence: names("--allow-presence", &self.allow_presence)?,
                ..Permissions::default()
            },
            ..AuthConfig::default()
        })
    }

    /// Reads the files and checks the rest.
    pub fn check(&self) -> Result<AuthConfig, Wrong> {
        if self.is_empty() {
            return Err(Wrong(Self::NONE.to_owned()));
        }
        let public_keys = self.jwt_public_key.iter().map(|path| PublicKey::read(path));
        Ok(AuthConfig {
            secret: secret(self.jwt_secret.as_ref(), self.jwt_secret_file.as_deref())?,
            public_keys: public_keys.collect::<Result<_, Wrong>>()?,
            jwks: self.jwks_url().cloned(),
            audiences: self.jwt_audience.clone(),
            issuers: self.jwt_issuer.clone(),
            secret_file: self.jwt_secret_file.clone(),
            ..self.without_keys()?
        })
    }
}

/// The names that a flag lists. `none` stands alone.
fn names(flag: &str, patterns: &[Pattern]) -> Result<Names, Wrong> {
    if patterns.len() > MAX_PATTERNS {
        return Err(Wrong(format!("{flag}: lists {} names and may list {MAX_PATTERNS}", patterns.len())));
    }
    if !patterns.iter().any(|pattern| pattern.as_str() == "none") {
        return Ok(Names::of(patterns.iter().cloned()));
    }
    if patterns.len() > 1 {
        return Err(Wrong(format!("{flag}: `none` stands alone")));
    }
    Ok(Names::of([]))
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
