//! What to try first: printed to standard output when the system made its own
//! secret.

use std::net::SocketAddr;

/// Where clients find the system.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it has a certificate.
    pub tls: bool,
    /// Whether the chat page is served.
    pub page: bool,
}

/// The chat page's address, and lines for a shell that send a message from alice
/// to bob and read it. They need curl alone, also one that has no `--json`.
pub fn text(place: Place) -> String {
    let Place { address, tls, page } = place;
    let scheme = if tls { "https" } else { "http" };
    let first = match page {
        true => format!("Chat page: {scheme}://{address}/   (open it twice, with two names)"),
        false => format!("Switchboard runs at {scheme}://{address}"),
    };
    // No authority signs for a loopback address.
    let trust = if tls { " (each curl needs -k if its certificate is self-signed)" } else { "" };
    format!(
        r#"
{first}

Or paste these lines into a shell{trust}. The last one prints what bob gets, until Ctrl-C:

  URL={scheme}://{address}
  ALICE=$(curl -s "$URL/dev/token" -d '{{"user":"alice"}}' | cut -d'"' -f4)
  BOB=$(curl -s "$URL/dev/token" -d '{{"user":"bob"}}' | cut -d'"' -f4)
  curl -s "$URL/v1/messages" --oauth2-bearer "$ALICE" -H 'Content-Type: application/json' -d '{{"to":"bob","body":"hi"}}'
  curl -sN "$URL/v1/stream?cursor=start" --oauth2-bearer "$BOB"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_say_whether_there_is_tls_and_the_page_whether_it_is_served() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let plain = text(Place { address, tls: false, page: true });
        assert!(plain.starts_with("\nChat page: http://127.0.0.1:8080/ "), "{plain}");
        assert!(plain.contains("URL=http://127.0.0.1:8080\n") && !plain.contains("https://"), "{plain}");
        assert!(plain.lines().count() < 15, "{plain}");
        let with = text(Place { address, tls: true, page: false });
        assert!(with.contains("URL=https://127.0.0.1:8080\n") && !with.contains("http://"), "{with}");
        assert!(with.contains("-k") && !with.contains("Chat page"), "{with}");
    }
}
