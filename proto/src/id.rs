//! Identifiers as types. A text is checked once, where it comes in; after that
//! the type says that its form is right.

use std::fmt;
use std::sync::Arc;

use crate::time::Time;

/// Why a text does not have the form that it should have. The text goes on
/// after the name of the field: "`to` must be …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormError(pub &'static str);

const NAME_RULE: FormError = FormError("must be 1 to 64 characters of A-Z a-z 0-9 . _ @ -");
const CONVERSATION_RULE: FormError = FormError(
    "must be a conversation id: two user ids in byte order joined by `~`, or `g_` and 26 characters",
);
const CHANNEL_RULE: FormError =
    FormError("must be a channel id: `c_` and 1 to 64 characters of A-Z a-z 0-9 . _ -");
const CLIENT_MESSAGE_RULE: FormError = FormError("must be 1 to 64 visible ASCII characters");
const SESSION_RULE: FormError = FormError("must be 1 to 64 characters of A-Z a-z 0-9 . _ -");
const TOKEN_RULE: FormError = FormError("must be 1 to 256 bytes, without control characters");
const NODE_RULE: FormError = FormError("must be 1 to 96 characters of A-Z a-z 0-9 . _ -");

/// For each byte, whether it may stand in an identifier.
type Alphabet = [bool; 256];

const NAME: &Alphabet = &alphabet(b"._@-");
const WORD: &Alphabet = &alphabet(b"._-");

/// ASCII letters, ASCII digits, and `extra`.
const fn alphabet(extra: &[u8]) -> Alphabet {
    let mut alphabet = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        alphabet[byte as usize] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < extra.len() {
        alphabet[extra[index] as usize] = true;
        index += 1;
    }
    alphabet
}

/// Checks all bytes, even after a bad one. Most ids are good, and the loop
/// without an early exit is faster.
fn all(text: &str, good: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |so_far, byte| so_far & good(byte))
}

/// Whether all characters of a text may stand in the id of a user or a device.
pub(crate) fn has_only_name_characters(text: &str) -> bool {
    all(text, |byte| NAME[usize::from(byte)])
}

fn is_word(text: &str, max: usize, alphabet: &Alphabet) -> bool {
    (1..=max).contains(&text.len()) && all(text, |byte| alphabet[usize::from(byte)])
}

/// Defines a text identifier: cheap to clone, ordered by its bytes.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $check:expr, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the form of `text`. The error says what the form should
            /// be.
            pub fn parse(text: &str) -> Result<Self, FormError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(Arc::from(text))) } else { Err($rule) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = FormError;
            fn from_str(text: &str) -> Result<Self, FormError> {
                Self::parse(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl From<$name> for Arc<str> {
            fn from(id: $name) -> Arc<str> {
                id.0
            }
        }
    };
}

identifier!(
    /// An account: the `sub` of its token.
    UserId,
    |text| is_word(text, 64, NAME),
    NAME_RULE
);
identifier!(
    /// One of a user's clients: a phone, a browser.
    DeviceId,
    |text| is_word(text, 64, NAME),
    NAME_RULE
);
identifier!(
    /// One live attachment of a device to the cluster.
    SessionId,
    |text| is_word(text, 64, WORD),
    SESSION_RULE
);
identifier!(
    /// One run of a gateway: the node's name and a random word. It names the
    /// bus channel and the lease, so a restarted gateway is a new one.
    NodeIncarnation,
    |text| is_word(text, 96, WORD),
    NODE_RULE
);
identifier!(
    /// `client_msg_id`: the sender's own id of a message, by which repeats are
    /// recognised.
    ClientMessageId,
    |text| (1..=64).contains(&text.len()) && all(text, |byte| byte.is_ascii_graphic()),
    CLIENT_MESSAGE_RULE
);
identifier!(
    /// The `jti` of a token: the id by which it is revoked.
    TokenId,
    |text| (1..=256).contains(&text.len()) && !text.chars().any(char::is_control),
    TOKEN_RULE
);
identifier!(
    /// A channel that is published to, with subscribers instead of members.
    ChannelId,
    |text| text.strip_prefix("c_").is_some_and(|name| is_word(name, 64, WORD)),
    CHANNEL_RULE
);
identifier!(
    /// A conversation: a direct one of two users (`alice~bob`), or a group
    /// (`g_` and a ULID).
    ConversationId,
    is_conversation,
    CONVERSATION_RULE
);

fn is_conversation(text: &str) -> bool {
    match text.split_once('~') {
        Some((a, b)) => is_word(a, 64, NAME) && is_word(b, 64, NAME) && a <= b,
        None => text
            .strip_prefix("g_")
            .is_some_and(|id| id.len() == 26 && id.bytes().all(|b| b.is_ascii_alphanumeric())),
    }
}

impl ConversationId {
    /// The direct conversation of two users, who may be the same.
    pub fn direct(one: &UserId, other: &UserId) -> Self {
        let (a, b) = if one <= other { (one, other) } else { (other, one) };
        Self(Arc::from(format!("{a}~{b}")))
    }

    /// The id of a new group. `time` is its creation.
    pub fn new_group(time: Time) -> Self {
        Self(Arc::from(format!("g_{}", ulid::Ulid::from_parts(time.0, rand::random()))))
    }

    /// The two users of a direct conversation, the same twice for a
    /// conversation with oneself; `None` for a group.
    pub fn pair(&self) -> Option<(UserId, UserId)> {
        let (one, other) = self.names()?;
        Some((UserId(Arc::from(one)), UserId(Arc::from(other))))
    }

    /// The names of [`Self::pair`], without a copy.
    pub fn names(&self) -> Option<(&str, &str)> {
        self.0.split_once('~')
    }

    /// Whether the user may be a member at all: a direct conversation admits
    /// only its two users.
    pub fn admits(&self, user: &UserId) -> bool {
        self.names().is_none_or(|(one, other)| *user.0 == *one || *user.0 == *other)
    }

    /// Whether it is a group.
    pub fn is_group(&self) -> bool {
        !self.0.contains('~')
    }
}

impl SessionId {
    /// A new id with 120 random bits: knowing it is proof enough.
    pub fn random() -> Self {
        Self(Arc::from(random_word::<24>()))
    }
}

impl DeviceId {
    /// A new id for a client that names no device; 80 random bits.
    pub fn random() -> Self {
        Self(Arc::from(random_word::<16>()))
    }
}

impl NodeIncarnation {
    /// The id of a new run of this node. Fails when `node` has characters that
    /// an id must not have, or more than 83 of them.
    pub fn new(node: &str) -> Result<Self, FormError> {
        Self::parse(&format!("{node}.{}", random_word::<12>()))
    }

    /// The node whose run it is.
    pub fn node(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(node, _)| node)
    }
}

/// `N` characters with 5 random bits each.
fn random_word<const N: usize>() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let random: [u8; N] = rand::random();
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_conversation_is_its_users_in_byte_order() {
        let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("Bob").unwrap());
        assert_eq!(ConversationId::direct(&alice, &bob).as_str(), "Bob~alice");
        assert_eq!(ConversationId::direct(&alice, &alice).as_str(), "alice~alice");
        assert_eq!(ConversationId::direct(&alice, &bob).pair(), Some((bob, alice)));
    }

    #[test]
    fn conversations_of_the_wrong_form_are_refused() {
        for text in ["", "alice", "b~a", "a~", "~a", "a~b~c", "g_short", "g_0000000000000000000000000!"] {
            assert_eq!(ConversationId::parse(text), Err(CONVERSATION_RULE), "{text}");
        }
        assert!(ConversationId::parse(ConversationId::new_group(Time(7)).as_str()).unwrap().is_group());
    }

    #[test]
    fn names_have_an_alphabet_and_a_length() {
        assert!(UserId::parse("a.b_c@d-9").is_ok());
        for text in ["", "a b", "a~b", "ä", &"x".repeat(65)] {
            assert!(UserId::parse(text).is_err(), "{text}");
        }
    }
}
