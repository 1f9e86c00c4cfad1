//! What to try first: printed to standard output when the system made its own
//! secret.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::caller::auth::token::Token;
use gateway::config::Secret;

/// Where clients find the system.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it has a certificate.
    pub tls: bool,
    /// How long its tokens live.
    pub ttl: Duration,
}

/// Tokens for two users, and how one writes to the other.
pub fn text(place: Place, secret: &Secret) -> Option<String> {
    let Place { address, tls, ttl } = place;
    let (http, ws) = if tls { ("https", "wss") } else { ("http", "ws") };
    let token =
        |user| Token { sub: user, device: None, scope: None, aud: None, iss: None, ttl }.sign(secret).ok();
    let (alice, bob) = (token("alice")?, token("bob")?);
    Some(format!(
        "
Switchboard runs at {http}://{address}

  ALICE={alice}
  BOB={bob}

To see a message arrive, paste the two lines above into two terminals, and then one of these into each:

  websocat \"{ws}://{address}/v1/ws?token=$BOB\"
  curl -H \"Authorization: Bearer $ALICE\" -d '{{\"to\":\"bob\",\"body\":\"hi\"}}' -H 'Content-Type: application/json' \
{http}://{address}/v1/messages

Tokens for others: standalone token --user carol, or
  curl -d '{{\"user\":\"carol\"}}' {http}://{address}/dev/token
"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_say_whether_there_is_tls() {
        let secret = Secret::from("0123456789abcdef0123456789abcdef".to_owned());
        let address = "127.0.0.1:8080".parse().unwrap();
        let plain = text(Place { address, tls: false, ttl: Duration::from_secs(60) }, &secret).unwrap();
        assert!(plain.contains("ws://127.0.0.1:8080/v1/ws"), "{plain}");
        assert!(!plain.contains("https://") && !plain.contains("wss://"), "{plain}");
        let with = text(Place { address, tls: true, ttl: Duration::from_secs(60) }, &secret).unwrap();
        assert!(with.contains("wss://127.0.0.1:8080/v1/ws"), "{with}");
        assert!(!with.contains("http://") && !with.contains(" \"ws://"), "{with}");
    }
}
