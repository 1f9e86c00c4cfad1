//! Short texts that people read: a group's name, and the emoji of a reaction.
//! Gateways and routers check them by the same rules.

use crate::id::FormError;

/// The most characters of a group's name.
pub const MAX_NAME_CHARACTERS: usize = 128;
/// The most bytes of a reaction's emoji. The longest emoji of Unicode's
/// standard set has 35.
pub const MAX_EMOJI_BYTES: usize = 64;

const NAME_RULE: FormError = FormError("must have 1 to 128 characters, none of them a control character");
const EMOJI_RULE: FormError = FormError("must have 1 to 64 bytes, none of them of a control character");

/// Fails unless `text` can be a group's name: 1 to 128 characters, no control
/// character.
pub fn check_name(text: &str) -> Result<(), FormError> {
    let fits = (1..=MAX_NAME_CHARACTERS).contains(&text.chars().count());
    if fits && is_clean(text) { Ok(()) } else { Err(NAME_RULE) }
}

/// Fails unless `text` can be a reaction's emoji: 1 to 64 bytes, no control
/// character.
pub fn check_emoji(text: &str) -> Result<(), FormError> {
    let fits = (1..=MAX_EMOJI_BYTES).contains(&text.len());
    if fits && is_clean(text) { Ok(()) } else { Err(EMOJI_RULE) }
}

/// No control characters (Unicode's category Cc: line breaks, terminal
/// escapes): names appear in other people's logs and terminals. The characters
/// that join emoji are of category Cf and pass.
fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_say_what_the_bounds_are() {
        assert!(NAME_RULE.0.contains(&MAX_NAME_CHARACTERS.to_string()));
        assert!(EMOJI_RULE.0.contains(&MAX_EMOJI_BYTES.to_string()));
    }

    #[test]
    fn the_longest_emoji_of_the_standard_set_fits() {
        // Two people of two skin tones who kiss: ten code points.
        let kiss = "\u{1f9d1}\u{1f3fb}\u{200d}\u{2764}\u{fe0f}\u{200d}\u{1f48b}\u{200d}\u{1f9d1}\u{1f3fc}";
        assert_eq!((kiss.len(), check_emoji(kiss)), (35, Ok(())));
        // A flag is written with tags.
        let wales = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}";
        assert_eq!(check_emoji(wales), Ok(()));
        assert_eq!(check_emoji(&"x".repeat(64)), Ok(()));
        assert_eq!(check_emoji(&"x".repeat(65)), Err(EMOJI_RULE));
        assert_eq!(check_emoji(""), Err(EMOJI_RULE));
    }

    #[test]
    fn control_characters_are_in_neither() {
        for control in ['\0', '\n', '\r', '\t', '\u{1b}', '\u{7f}', '\u{85}'] {
            let text = format!("tea{control}");
            assert_eq!(check_name(&text), Err(NAME_RULE), "{control:?}");
            assert_eq!(check_emoji(&text), Err(EMOJI_RULE), "{control:?}");
        }
        assert_eq!(check_name("Tee trinken ☕ für alle"), Ok(()));
    }
}
