//! A client's id: 128 random bits, which nobody guesses, and the name of the node
//! that has it, so that any node knows where a request belongs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Characters of 128 bits in base64.
const RANDOM: usize = 22;

/// Makes a new id.
pub(super) fn new(node: &str) -> String {
    let mut id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
    id.push('.');
    id.push_str(node);
    id
}

/// The node that an id names. `None` if the id was not made by a gateway.
pub(super) fn node(id: &str) -> Option<&str> {
    let (random, node) = id.split_at_checked(RANDOM)?;
    let node = node.strip_prefix('.')?;
    let fits = random.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    (fits && !node.is_empty()).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_node_and_no_other_is_like_it() {
        let (one, other) = (new("gw-1.a"), new("gw-1.a"));
        assert_ne!(one, other);
        assert_eq!(node(&one), Some("gw-1.a"));
        for none in ["", "gw-1", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA.", "€€€€€€€€€€€€.gw"]
        {
            assert_eq!(node(none), None, "{none}");
        }
    }
}
