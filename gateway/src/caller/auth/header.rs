//! A token's header, read before its signature is checked: to choose the key,
//! and to name an algorithm that is not accepted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::refusal::Refusal;
use crate::protocol::unauthorized::Reason;

/// No honest token is longer.
const MAX_TOKEN_BYTES: usize = 16_384;

/// The fields of a JOSE header that are used (RFC 7515 §4.1).
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub alg: String,
    #[serde(default)]
    pub kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

impl Header {
    /// Reads the header of a token of which nothing has been checked yet.
    pub(super) fn of(token: &str) -> Result<Self, Refusal> {
        let not_a_token = || Refusal::new(Reason::Malformed, "the token is not a JWT");
        if token.len() > MAX_TOKEN_BYTES || token.split('.').count() != 3 {
            return Err(not_a_token());
        }
        let (encoded, _) = token.split_once('.').ok_or_else(not_a_token)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| not_a_token())?;
        let header: Self = serde_json::from_slice(&json).map_err(|_| not_a_token())?;
        // A token with an extension that is not understood must be refused
        // (RFC 7515 §4.1.11), and none is understood here.
        if header.crit.is_some() {
            return Err(Refusal::new(
                Reason::Malformed,
                "the token's header has `crit` extensions, and none is known here",
            ));
        }
        Ok(header)
    }

    /// The refusal of its algorithm. It shows at most the algorithm's name,
    /// since the header is not trusted.
    pub(super) fn not_configured(&self) -> Refusal {
        let name = Some(self.alg.as_str())
            .filter(|alg| (1..=16).contains(&alg.len()) && alg.bytes().all(|b| b.is_ascii_alphanumeric()));
        let text = match name {
            Some(name) => format!("the token's algorithm {name} is not configured here"),
            None => "the token's algorithm is not configured here".to_owned(),
        };
        Refusal::new(Reason::Algorithm, text)
    }
}
