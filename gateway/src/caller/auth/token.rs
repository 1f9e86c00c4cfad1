//! Makes tokens: for the `token` subcommand and for standalone's
//! `POST /dev/token`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use daemon::duration;
use jsonwebtoken::{EncodingKey, Header};
use proto::{DeviceId, Pattern, Time, TokenId, UserId};
use serde::Serialize;

use crate::config::{self, MAX_TOKEN_LIFE, Secret, Wrong};
use crate::protocol::scopes::Scopes;

/// The flags of the `token` subcommand.
#[derive(Debug, Clone, clap::Args)]
pub struct TokenArgs {
    /// The user that the token is for: its `sub`.
    #[arg(long, value_name = "USER")]
    pub user: UserId,

    /// The one device that the token is for; without it any device.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceId>,

    /// What the token allows beyond acting as its user.
    ///
    /// `service`: to act for any user. `publish`: to publish to channels. May be
    /// given several times, or as a list with commas.
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = Scopes::NAMES)]
    pub scope: Vec<String>,

    /// A channel that the token's user may subscribe to, beside --allow-subscribe.
    ///
    /// A name, or the beginning of names with `*` behind it. May be given several
    /// times, or as a list with commas.
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    pub subscribe: Vec<Pattern>,

    /// A user whose presence the token's user may see, beside --allow-presence.
    ///
    /// As --subscribe.
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    pub presence: Vec<Pattern>,

    /// The token's id (`jti`), by which it can be revoked.
    #[arg(long, value_name = "ID")]
    pub jti: Option<TokenId>,

    /// The time until the token ends: from 1s to --max-token-life.
    #[arg(long, default_value = "24h", value_parser = duration::parse, value_name = "DURATION")]
    pub ttl: Duration,

    /// The servers' --max-token-life: they refuse a token that ends later.
    #[arg(long, env = "SWITCHBOARD_MAX_TOKEN_LIFE", default_value = MAX_TOKEN_LIFE, value_parser = duration::parse,
          value_name = "DURATION")]
    pub max_token_life: Duration,

    /// The token's `aud`, where the servers have --jwt-audience.
    #[arg(long, value_name = "AUDIENCE")]
    pub audience: Option<String>,

    /// The token's `iss`, where the servers have --jwt-issuer.
    #[arg(long, value_name = "ISSUER")]
    pub issuer: Option<String>,

    /// The servers' --jwt-secret, which signs the token (HS256).
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET", value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,

    /// The same secret, read from a file.
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET_FILE", value_name = "FILE", conflicts_with = "jwt_secret")]
    pub jwt_secret_file: Option<PathBuf>,
}

impl TokenArgs {
    /// Prints the token. Fails where a flag is wrong.
    pub fn print(&self) -> Result<ExitCode, Wrong> {
        println!("{}", self.mint()?);
        Ok(ExitCode::SUCCESS)
    }

    /// The token, signed with `--jwt-secret` or the content of
    /// `--jwt-secret-file`. Fails without a secret, or with a life that is too
    /// short or too long.
    pub fn mint(&self) -> Result<String, Wrong> {
        let secret = self
            .secret()?
            .ok_or_else(|| Wrong("--jwt-secret: is needed to sign, or --jwt-secret-file".to_owned()))?;
        self.mint_with(&secret)
    }

    /// The secret that the flags give, if any. Fails when the file cannot be
    /// read.
    pub fn secret(&self) -> Result<Option<Secret>, Wrong> {
        config::secret(self.jwt_secret.as_ref(), self.jwt_secret_file.as_deref())
    }

    /// The token, signed with this secret.
    pub fn mint_with(&self, secret: &Secret) -> Result<String, Wrong> {
        // A shorter one would have expired before it is used.
        if self.ttl < Duration::from_secs(1) {
            return Err(Wrong(format!("--ttl: must be at least 1s, not {:?}", self.ttl)));
        }
        if self.ttl > self.max_token_life {
            return Err(Wrong(format!(
                "--ttl: {:?} is longer than --max-token-life ({:?}): the servers would refuse the token",
                self.ttl, self.max_token_life
            )));
        }
        let token = Token {
            sub: self.user.as_str(),
            device: self.device.as_ref().map(DeviceId::as_str),
            scope: (!self.scope.is_empty()).then(|| self.scope.join(" ")),
            subscribe: self.subscribe.iter().map(Pattern::as_str).collect(),
            presence: self.presence.iter().map(Pattern::as_str).collect(),
            aud: self.audience.as_deref(),
            iss: self.issuer.as_deref(),
            jti: self.jti.as_ref().map(TokenId::as_str),
            ttl: self.ttl,
        };
        token.sign(secret).map_err(|error| Wrong(format!("the token cannot be signed: {error}")))
    }
}

/// The claims of a new token.
#[derive(Debug, Default)]
pub struct Token<'a> {
    /// The user whose token it is (RFC 7519 §4.1.2).
    pub sub: &'a str,
    /// The one device that it is for.
    pub device: Option<&'a str>,
    /// The scopes, separated by spaces (RFC 8693 §4.2).
    pub scope: Option<String>,
    /// Names and beginnings of names of channels.
    pub subscribe: Vec<&'a str>,
    /// Names and beginnings of names of users.
    pub presence: Vec<&'a str>,
    /// For which service it was signed (RFC 7519 §4.1.3).
    pub aud: Option<&'a str>,
    /// Who signed it (RFC 7519 §4.1.1).
    pub iss: Option<&'a str>,
    /// The token's id, by which it can be revoked (RFC 7519 §4.1.7).
    pub jti: Option<&'a str>,
    /// How long the token is valid.
    pub ttl: Duration,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    subscribe: &'a [&'a str],
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    presence: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    iat: u64,
    exp: u64,
}

impl Token<'_> {
    /// Signs the token with HS256, valid from now on.
    pub fn sign(&self, secret: &Secret) -> jsonwebtoken::errors::Result<String> {
        // With a clock before 1970 the token has expired, which is right.
        let now = Time::now().seconds();
        let claims = Claims {
            sub: self.sub,
            device: self.device,
            scope: self.scope.as_deref(),
            subscribe: &self.subscribe,
            presence: &self.presence,
            aud: self.aud,
            iss: self.iss,
            jti: self.jti,
            iat: now,
            exp: now.saturating_add(self.ttl.as_secs()),
        };
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        token: TokenArgs,
    }

    fn mint(more: &[&str]) -> Result<String, String> {
        let flags = ["token", "--user=alice", "--jwt-secret=0123456789abcdef0123456789abcdef"];
        let parsed = Program::try_parse_from(flags.iter().chain(more)).map_err(|error| error.to_string())?;
        parsed.token.mint().map_err(|wrong| wrong.0)
    }

    #[test]
    fn a_token_that_no_server_would_believe_is_not_made() {
        assert!(mint(&["--scope=service,publish", "--ttl=1s"]).is_ok());
        for (flag, says) in [
            ("--scope=admin", "[possible values: service, publish]"),
            ("--scope=service,admin", "[possible values: service, publish]"),
            ("--ttl=0s", "--ttl: must be at least 1s"),
            ("--ttl=900ms", "--ttl: must be at least 1s"),
            ("--ttl=367d", "is longer than --max-token-life"),
        ] {
            let wrong = mint(&[flag]).unwrap_err();
            assert!(wrong.contains(says), "{flag}: {wrong}");
        }
    }
}
