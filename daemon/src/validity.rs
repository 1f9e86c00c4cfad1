//! From when to when a certificate is valid (RFC 5280 §4.1.2.5), which rustls asks
//! of peers' certificates and not of the server's own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A certificate that ends sooner than this should have been renewed.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// X.690 tags.
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// What is wrong, or will be soon, with the time of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untimely {
    /// Peers refuse it now.
    Refused(String),
    /// Peers take it for some days more.
    EndsSoon(String),
}

impl Untimely {
    /// Of a certificate in DER; nothing where its time is good, or cannot be read.
    pub fn of(certificate: &[u8], now: SystemTime) -> Option<Self> {
        let (begins, ends) = validity(certificate)?;
        let date = httpdate::fmt_http_date;
        if now < begins {
            return Some(Self::Refused(format!("is valid from {} only: check the clock", date(begins))));
        }
        if now > ends {
            return Some(Self::Refused(format!("has ended on {}: renew it", date(ends))));
        }
        (now + SOON > ends).then(|| Self::EndsSoon(format!("ends on {}: renew it", date(ends))))
    }
}

fn validity(certificate: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let mut certificate = Elements(Elements(certificate).next_of(&[SEQUENCE])?);
    let mut signed = Elements(certificate.next_of(&[SEQUENCE])?);
    if signed.0.first() == Some(&VERSION) {
        signed.next_of(&[VERSION])?;
    }
    signed.next_of(&[INTEGER])?;
    // The algorithm and the issuer.
    signed.next_of(&[SEQUENCE])?;
    signed.next_of(&[SEQUENCE])?;
    let mut validity = Elements(signed.next_of(&[SEQUENCE])?);
    Some((validity.time()?, validity.time()?))
}

/// DER elements that follow each other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The content of the next one, if it has one of these tags.
    fn next_of(&mut self, tags: &[u8]) -> Option<&'a [u8]> {
        let (tag, rest) = self.0.split_first()?;
        let (short, mut rest) = rest.split_first()?;
        let length = match short {
            0..=0x7f => usize::from(*short),
            0x81..=0x84 => {
                let (bytes, after) = rest.split_at_checked(usize::from(short & 0x7f))?;
                rest = after;
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        tags.contains(tag).then_some(content)
    }

    /// `YYMMDDHHMMSSZ` of the years 1950 to 2049, or `YYYYMMDDHHMMSSZ`.
    fn time(&mut self) -> Option<SystemTime> {
        let text = std::str::from_utf8(self.next_of(&[UTC_TIME, GENERALIZED_TIME])?).ok()?;
        let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        let (year, rest) = match digits.len() {
            12 => {
                let (year, rest) = digits.split_at(2);
                let year: u64 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            14 => (digits[..4].parse().ok()?, &digits[4..]),
            _ => return None,
        };
        let part = |at: usize| rest[at..at + 2].parse::<u64>().ok();
        let days = days(year, part(0)?, part(2)?)?;
        let seconds = ((days * 24 + part(4)?) * 60 + part(6)?) * 60 + part(8)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; nothing before it.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    // Leap days up to the end of the year before.
    let leap_days = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before = BEFORE.get(usize::try_from(month).ok()?.checked_sub(1)?)? + u64::from(leap && month > 2);
    let years = (year.checked_sub(1970)?) * 365 + leap_days(year) - leap_days(1970);
    Some(years + before + day.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn at(text: &str) -> SystemTime {
        httpdate::parse_http_date(text).unwrap()
    }

    fn certificate(name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(format!("../gateway/tests/certificates/{name}.cert.pem")).unwrap()
    }

    #[test]
    fn the_times_of_a_certificate_are_those_that_openssl_shows() {
        let (begins, ends) = validity(&certificate("one")).unwrap();
        assert_eq!(begins, at("Sat, 21 Nov 2026 04:43:54 GMT"));
        assert_eq!(ends, at("Mon, 28 Oct 2126 04:43:54 GMT"));
    }

    #[test]
    fn a_certificate_is_refused_before_and_after_and_warned_of_at_its_end() {
        let of = |now: &str| Untimely::of(&certificate("old"), at(now));
        assert!(
            matches!(of("Tue, 31 Dec 2019 00:00:00 GMT"), Some(Untimely::Refused(why)) if why.contains("clock"))
        );
        assert!(matches!(of("Wed, 01 Jan 2020 12:00:00 GMT"), Some(Untimely::EndsSoon(_))));
        assert!(
            matches!(of("Fri, 03 Jan 2020 00:00:00 GMT"), Some(Untimely::Refused(why)) if why.contains("renew"))
        );
        assert_eq!(Untimely::of(&certificate("one"), at("Fri, 01 Jan 2027 00:00:00 GMT")), None);
    }

    #[test]
    fn days_are_counted_as_the_calendar_has_them() {
        for (year, month, day, text) in [
            (1970, 1, 1, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (2000, 3, 1, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (2024, 2, 29, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (2100, 12, 31, "Fri, 31 Dec 2100 00:00:00 GMT"),
        ] {
            let seconds = days(year, month, day).unwrap() * 86_400;
            assert_eq!(UNIX_EPOCH + Duration::from_secs(seconds), at(text));
        }
        assert_eq!((days(1969, 1, 1), days(2000, 13, 1), days(2000, 1, 0)), (None, None, None));
    }

    #[test]
    fn what_is_cut_off_or_of_another_form_has_no_time() {
        let whole = certificate("one");
        // The signature comes last: cut there, the outer length is wrong.
        for length in [0, 1, 2, 10, 60, whole.len() - 1] {
            assert_eq!(validity(&whole[..length]), None, "{length}");
        }
        assert_eq!(validity(&[0x30, 0x80, 0, 0]), None);
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
