//! `check-token`: what a token says, and whether these flags would have it
//! believed. It shows everything but the signature, so that nobody can use what
//! it prints.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::SystemTime;

use daemon::check::block_on;

use crate::caller::auth::{Authenticator, Contents};
use crate::config::{AuthArgs, AuthConfig, Secret, Wrong};

/// Bytes of standard input; no token is as long.
const MAX_INPUT: u64 = 64 * 1024;

/// The flags of `check-token`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckTokenArgs {
    /// The token; without it, standard input is read.
    ///
    /// What stands on a command line is seen by all users of the machine: use
    /// standard input for a token that is still good.
    // Several, so that no error of clap's quotes one.
    #[arg(value_name = "TOKEN", num_args = 0.., hide_default_value = true)]
    pub token: Vec<Secret>,

    /// Whose tokens are believed.
    #[command(flatten)]
    pub auth: AuthArgs,
}

impl CheckTokenArgs {
    /// Prints what the token says and whether it is believed with these keys. The
    /// exit code is 0 when it is. Fails where a flag is wrong.
    pub fn run(&self, auth: &AuthConfig) -> Result<ExitCode, Wrong> {
        let token = self.token()?;
        if let Ok(contents) = Contents::of(&token) {
            for (name, value) in contents.lines(SystemTime::now()) {
                print(name, &value);
            }
        }
        let examined = block_on(async { Ok(Authenticator::new(auth)?.examine(&token).await) });
        let examined = examined.map_err(|error| Wrong(error.to_string()))?;
        Ok(match examined? {
            Ok(_) => {
                print("believed", "yes");
                print("revoked", "not looked at: gateways know it, who have routers and a store");
                ExitCode::SUCCESS
            }
            Err(refusal) => {
                print("believed", &format!("no, {}: {}", refusal.word(), refusal.message()));
                ExitCode::FAILURE
            }
        })
    }

    fn token(&self) -> Result<String, Wrong> {
        let bytes = match self.token.as_slice() {
            [token] => token.bytes().to_vec(),
            [] => {
                let mut input = Vec::new();
                std::io::stdin()
                    .take(MAX_INPUT)
                    .read_to_end(&mut input)
                    .map_err(|error| Wrong(format!("standard input cannot be read: {error}")))?;
                input
            }
            _ => return Err(Wrong("give one token, without blanks in it".to_owned())),
        };
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

fn print(name: &str, value: &str) {
    println!("{name:<10}  {value}");
}
