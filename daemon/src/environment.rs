//! Environment variables that are named like our flags' and belong to none: a
//! misspelt one would otherwise be ignored without a word.

/// The prefix of all our variables.
const PREFIX: &str = "SWITCHBOARD_";

/// The variables of all our programs, because one environment is often given to
/// several of them. A test in `standalone` compares this list with the flags.
pub const KNOWN: &[&str] = &[
    "SWITCHBOARD_ADD_TO_GROUPS",
    "SWITCHBOARD_ADMIN_LISTEN",
    "SWITCHBOARD_ALLOW_ORIGIN",
    "SWITCHBOARD_ALLOW_PRESENCE",
    "SWITCHBOARD_ALLOW_SUBSCRIBE",
    "SWITCHBOARD_ARCHIVE",
    "SWITCHBOARD_ARCHIVE_AFTER",
    "SWITCHBOARD_ARCHIVE_BATCH",
    "SWITCHBOARD_ARCHIVE_CONNECTIONS",
    "SWITCHBOARD_ARCHIVE_FILE",
    "SWITCHBOARD_ATTACHES_AT_ONCE",
    "SWITCHBOARD_ATTACHES_PER_SECOND",
    "SWITCHBOARD_BATCH_PAUSE",
    "SWITCHBOARD_CHANNEL_MESSAGES",
    "SWITCHBOARD_COMMANDS_IN_FLIGHT",
    "SWITCHBOARD_COMMAND_TIMEOUT",
    "SWITCHBOARD_CONVERSATION_MESSAGES",
    "SWITCHBOARD_DRAIN",
    "SWITCHBOARD_FAIL_AT",
    "SWITCHBOARD_HANDSHAKE_TIMEOUT",
    "SWITCHBOARD_HEADER_TIMEOUT",
    "SWITCHBOARD_HEARTBEAT",
    "SWITCHBOARD_INBOX_AGE",
    "SWITCHBOARD_INBOX_EVENTS",
    "SWITCHBOARD_INTERNAL_INSECURE",
    "SWITCHBOARD_INTERNAL_TLS_CA",
    "SWITCHBOARD_INTERNAL_TLS_CERT",
    "SWITCHBOARD_INTERNAL_TLS_KEY",
    "SWITCHBOARD_INTERNAL_TLS_NAME",
    "SWITCHBOARD_INVITES_PER_MINUTE",
    "SWITCHBOARD_JWKS_URL",
    "SWITCHBOARD_JWKS_URL_FILE",
    "SWITCHBOARD_JWT_AUDIENCE",
    "SWITCHBOARD_JWT_ISSUER",
    "SWITCHBOARD_JWT_PUBLIC_KEY",
    "SWITCHBOARD_JWT_SECRET",
    "SWITCHBOARD_JWT_SECRET_FILE",
    "SWITCHBOARD_LISTEN",
    "SWITCHBOARD_LOG",
    "SWITCHBOARD_LOG_FORMAT",
    "SWITCHBOARD_MAX_AGE",
    "SWITCHBOARD_MAX_CONNECTIONS",
    "SWITCHBOARD_MAX_CONNECTIONS_PER_ADDRESS",
    "SWITCHBOARD_MAX_GROUP_MEMBERS",
    "SWITCHBOARD_MAX_HEADER_BYTES",
    "SWITCHBOARD_MAX_LINKS",
    "SWITCHBOARD_MAX_REACTIONS",
    "SWITCHBOARD_MAX_REQUEST_BYTES_HELD",
    "SWITCHBOARD_MAX_REVOCATIONS",
    "SWITCHBOARD_MAX_SESSIONS",
    "SWITCHBOARD_MAX_SUBSCRIPTIONS",
    "SWITCHBOARD_MAX_TOKEN_LIFE",
    "SWITCHBOARD_MAX_WATCHED",
    "SWITCHBOARD_MESSAGES_PER_SECOND",
    "SWITCHBOARD_NODE",
    "SWITCHBOARD_OTLP_HEADERS_FILE",
    "SWITCHBOARD_OVERLOAD_LATENESS",
    "SWITCHBOARD_OVERLOAD_WAIT",
    "SWITCHBOARD_PAGE",
    "SWITCHBOARD_PEER_ADDRESS",
    "SWITCHBOARD_PEER_LISTEN",
    "SWITCHBOARD_PEER_REQUESTS",
    "SWITCHBOARD_PROXY_PROTOCOL",
    "SWITCHBOARD_READS_PER_SECOND",
    "SWITCHBOARD_ROUTER",
    "SWITCHBOARD_SERVICE_REQUESTS_PER_SECOND",
    "SWITCHBOARD_SESSION_QUEUE",
    "SWITCHBOARD_SIGNALS_PER_SECOND",
    "SWITCHBOARD_SOCKJS_CLIENT_URL",
    "SWITCHBOARD_STORE",
    "SWITCHBOARD_STORE_FILE",
    "SWITCHBOARD_STORE_REPLICAS",
    "SWITCHBOARD_TLS_CERT",
    "SWITCHBOARD_TLS_KEY",
    "SWITCHBOARD_TRUSTED_PROXIES",
    "SWITCHBOARD_WEBHOOK_BATCH",
    "SWITCHBOARD_WEBHOOK_QUEUE",
    "SWITCHBOARD_WEBHOOK_SECRET",
    "SWITCHBOARD_WEBHOOK_SECRET_FILE",
    "SWITCHBOARD_WEBHOOK_TIMEOUT",
    "SWITCHBOARD_WEBHOOK_URL",
    "SWITCHBOARD_WEBHOOK_URL_FILE",
    "SWITCHBOARD_WORKER_THREADS",
];

/// A warning for each variable that no program reads, with the name of the
/// variable that may be meant. Never shows a value.
pub fn warnings() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let warning = |name: String| match nearest(&name) {
        Some(near) => {
            let flag = flag(near);
            format!("{name} is set, and no flag has this variable: is {near} ({flag}) meant?")
        }
        None => format!("{name} is set, and no flag has this variable: --help lists those that there are"),
    };
    names.filter(|name| is_unknown(name)).map(warning).collect()
}

fn is_unknown(name: &str) -> bool {
    name.starts_with(PREFIX) && !KNOWN.contains(&name) && !is_of_a_service(name)
}

/// Kubernetes sets these for every service of a namespace: `NAME_SERVICE_HOST`,
/// `NAME_PORT_8080_TCP_ADDR`.
fn is_of_a_service(name: &str) -> bool {
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name
            .split_once("_PORT_")
            .is_some_and(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// The flag of a variable.
fn flag(name: &str) -> String {
    format!("--{}", name.trim_start_matches(PREFIX).to_ascii_lowercase().replace('_', "-"))
}

/// The known variable that is spelt most alike, if a third of its letters differ
/// at most.
fn nearest(name: &str) -> Option<&'static str> {
    let own = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let distance = |known: &str| strsim::damerau_levenshtein(&own(known), &own(name));
    let near = KNOWN.iter().copied().min_by_key(|known| distance(known))?;
    (distance(near) <= own(name).len().div_ceil(3)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_one_is_near_to_the_right_one() {
        for (wrong, right) in [
            ("SWITCHBOARD_MAX_CONECTIONS", "SWITCHBOARD_MAX_CONNECTIONS"),
            ("SWITCHBOARD_JWT_SECERT", "SWITCHBOARD_JWT_SECRET"),
            ("SWITCHBOARD_LISTENS", "SWITCHBOARD_LISTEN"),
            ("SWITCHBOARD_ROUTERS", "SWITCHBOARD_ROUTER"),
        ] {
            assert!(is_unknown(wrong));
            assert_eq!(nearest(wrong), Some(right));
        }
        assert_eq!(nearest("SWITCHBOARD_SOMETHING_ELSE_ENTIRELY"), None);
        assert_eq!(flag("SWITCHBOARD_MAX_CONNECTIONS"), "--max-connections");
    }

    #[test]
    fn what_others_make_is_none_of_ours() {
        for name in [
            "SWITCHBOARD_GATEWAY_SERVICE_HOST",
            "SWITCHBOARD_GATEWAY_SERVICE_PORT_HTTP",
            "SWITCHBOARD_GATEWAY_PORT",
            "SWITCHBOARD_GATEWAY_PORT_8080_TCP_ADDR",
            "PATH",
            "SWITCHBOARD_STORE",
        ] {
            assert!(!is_unknown(name), "{name}");
        }
    }
}
