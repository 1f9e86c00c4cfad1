//! Durations as flags write them: a whole number and a unit, such as `250ms`,
//! `30s`, `5m`, `12h` or `90d`.

use std::time::Duration;

const RULE: &str = "must be a whole number and a unit (ms, s, m, h or d), for example 30s or 90d";

/// Reads a duration, for clap's `value_parser`. Fails for any other form, and
/// for more than 2^64 ms.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| RULE.to_owned())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(RULE.to_owned()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(|| "is too long".to_owned())
}

/// Reads a duration from `least` to `most`, which are written as flags write them; for
/// clap's `value_parser`. Fails for any other.
pub fn between(
    least: &'static str,
    most: &'static str,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let given = parse(text)?;
        if (parse(least)?..=parse(most)?).contains(&given) {
            return Ok(given);
        }
        Err(format!("must be from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        for (text, seconds) in [("0s", 0), ("30s", 30), ("5m", 300), ("12h", 43_200), ("90d", 7_776_000)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn anything_else_says_what_is_right() {
        for text in ["", "30", "s", "-1s", "1.5s", "30 s", "30S", "3w", "18446744073709551615d"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("30").unwrap_err().contains("for example"));
    }

    #[test]
    fn one_out_of_range_says_the_range() {
        let age = between("1s", "90d");
        assert_eq!(age("90d"), Ok(Duration::from_secs(7_776_000)));
        for text in ["0s", "999ms", "91d"] {
            assert_eq!(age(text), Err("must be from 1s to 90d".to_owned()), "{text}");
        }
        assert!(age("90").unwrap_err().contains("for example"));
    }
}
