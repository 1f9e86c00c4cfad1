//! The node's name: as given, or the host's, made fit.

use super::wrong::Wrong;

/// Characters. An incarnation has 96; its random part takes the rest.
const MAX: usize = 64;

/// The name to use. Fails for a given name with other characters.
pub(super) fn name(given: Option<&str>) -> Result<String, Wrong> {
    match given {
        Some(name) if (1..=MAX).contains(&name.len()) && name.bytes().all(fits) => Ok(name.to_owned()),
        Some(_) => Err(Wrong(format!("--node: must be 1 to {MAX} characters of A-Z a-z 0-9 . _ -"))),
        None => {
            let host = nix::unistd::gethostname()
                .map_err(|error| Wrong(format!("--node: not given, and the host has no name: {error}")))?;
            Ok(made_fit(&host.to_string_lossy()))
        }
    }
}

fn fits(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn made_fit(host: &str) -> String {
    let name: String =
        host.chars().take(MAX).map(|c| if u8::try_from(c).is_ok_and(fits) { c } else { '-' }).collect();
    if name.is_empty() { "gateway".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_made_fit_and_a_given_name_is_not() {
        assert_eq!(made_fit("gw 1.exämple"), "gw-1.ex-mple");
        assert_eq!(made_fit(""), "gateway");
        assert_eq!(name(Some("gw-1")), Ok("gw-1".to_owned()));
        assert!(name(Some("gw 1")).unwrap_err().0.starts_with("--node: must be"));
        assert!(name(None).is_ok());
    }
}
