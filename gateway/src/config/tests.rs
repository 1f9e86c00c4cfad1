//! What flags give, and what wrong ones say.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    gateway: GatewayArgs,
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NEEDED: [&str; 3] = ["gateway", "--router=http://router:7100", "--store=redis://redis:6379"];

fn parse(more: &[&str]) -> Result<GatewayArgs, clap::Error> {
    let args = NEEDED.iter().chain(more);
    Program::try_parse_from(args).map(|program| program.gateway)
}

fn wrong(more: &[&str]) -> String {
    match parse(more) {
        Ok(args) => args.check().unwrap_err().0,
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let args = parse(&["--jwt-secret", SECRET, "--node=gw-1"]).unwrap();
    assert_eq!(args.listen.to_string(), "0.0.0.0:8080");
    let config = args.check().unwrap();
    assert_eq!((config.node.as_str(), config.rates.messages_per_second), ("gw-1", 50));
    assert_eq!(config.heartbeat, Duration::from_secs(25));
    assert_eq!(config.limits.session_queue, 256);
    assert!(config.origins.any());
    assert!(config.peer.is_none());
}

#[test]
fn a_wrong_flag_is_named_with_what_is_wrong() {
    let secret = ["--jwt-secret", SECRET];
    let with = |flag: &'static str| [secret[0], secret[1], flag];
    for (flags, says) in [
        (&[][..], "at least one of --jwt-secret"),
        (&["--jwt-secret", "short"], "--jwt-secret: has 5 bytes and needs at least 32"),
        (&["--jwt-secret-file", "/none.secret"], "--jwt-secret-file: cannot read /none.secret"),
        (&["--jwt-secret-file", "/dev/null"], "--jwt-secret-file: has 0 bytes and needs at least 32"),
        (&with("--jwt-secret-file=x"), "cannot be used with"),
        (&["--jwt-public-key", "/none.pem"], "--jwt-public-key: cannot read /none.pem"),
        (&["--jwks-url", "ftp://host"], "--jwks-url: must be an http"),
        (&with("--max-token-life=0s"), "--max-token-life: must be from"),
        (&with("--listen=nowhere"), "such as 127.0.0.1:8080"),
        (&with("--node=a b"), "--node: must be"),
        (&with("--heartbeat=25"), "whole number and a unit"),
        (&with("--heartbeat=0s"), "--heartbeat: must be from 100ms"),
        (&with("--max-header-bytes=100"), "--max-header-bytes: must be from 8192"),
        (&with("--invites-per-minute=-1"), "--invites-per-minute"),
        (&with("--reads-per-second=1000001"), "--reads-per-second: must be from 0 to 1000000"),
        (&with("--session-queue=0"), "--session-queue: must be from 1"),
        (&with("--command-timeout=1ms"), "--command-timeout: must be from"),
        (&with("--allow-origin=example.com"), "must be `*`, an origin"),
        (&with("--router=router:7100"), "--router"),
        (
            &with("--peer-listen=0.0.0.0:7200"),
            "--peer-listen: 0.0.0.0:7200 can be reached from other machines",
        ),
        (&with("--peer-address=http://gw-1:7200"), "--peer-listen"),
        (&with("--internal-tls-cert=tests/certificates/one.cert.pem"), "--internal-tls-key"),
        (&with("--tls-cert=tests/certificates/one.cert.pem"), "--tls-key"),
        (&with("--tls-key=tests/certificates/one.key.pem"), "--tls-cert"),
        (
            &["--jwt-secret", SECRET, "--peer-listen=127.0.0.1:1", "--peer-address=gw"],
            "--peer-address: must be a URL",
        ),
        (
            &[
                "--jwt-secret",
                SECRET,
                "--peer-listen=127.0.0.1:1",
                "--peer-address=http://gw:1",
                "--peer-requests=0",
            ],
            "--peer-requests: must be from 1",
        ),
        (
            &["--jwt-secret", SECRET, "--peer-listen=127.0.0.1:1", "--peer-address=https://gw:1"],
            "--peer-address: https://gw:1 needs --internal-tls-cert",
        ),
    ] {
        let said = wrong(flags);
        assert!(said.contains(says), "{flags:?}: {said}");
    }
}

#[test]
fn several_of_a_list_come_by_comma_or_by_repetition() {
    let args = parse(&[
        "--jwt-secret",
        SECRET,
        "--router=http://b,http://c",
        "--jwt-audience=x",
        "--jwt-audience=y,z",
    ])
    .unwrap();
    assert_eq!(args.routers.len(), 3);
    assert_eq!(args.front.check().unwrap().auth.audiences, ["x", "y", "z"]);
}

#[test]
fn a_secret_in_a_file_is_that_without_the_lines_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    for end in ["", "\n", "\r\n"] {
        std::fs::write(&file, format!("{SECRET}{end}")).unwrap();
        let args = parse(&[&format!("--jwt-secret-file={}", file.display())]).unwrap();
        assert_eq!(args.front.check().unwrap().auth.secret, Some(Secret::new(SECRET)), "{end:?}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let args = parse(&["--jwt-secret", SECRET]).unwrap();
    assert!(!format!("{args:?} {:?}", args.front.check().unwrap()).contains(SECRET));
    assert!(!wrong(&["--jwt-secret", "short-and-secret"]).contains("short-and-secret"));
}

#[test]
fn a_url_with_secrets_is_never_shown() {
    let shown = |flags: &[&str]| {
        let args = Program::try_parse_from(["gateway", "--jwt-secret", SECRET].iter().chain(flags));
        match args {
            Ok(args) => format!("{args:?} {:?}", args.gateway.front.check()),
            Err(error) => error.to_string(),
        }
    };
    for flags in [
        [
            "--router=http://router",
            "--store=redis://user:hidden@redis:6379/1?key=hidden",
            "--jwks-url=https://a:hidden@b/?c=hidden",
        ],
        ["--router=http://a:hidden@router", "--store=redis://redis", "--node=a"],
        ["--router=http://router", "--store=redis://user:hidden@redis:hidden", "--node=a"],
        ["--router=http://router", "--store=http://user:hidden@redis", "--node=a"],
        ["--router=http://router", "--store=redis://redis", "--jwks-url=ftp://a:hidden@b"],
        ["--router=http://router", "--store=redis://redis", "--jwks-url=a:hidden@b"],
    ] {
        let shown = shown(&flags);
        assert!(!shown.contains("hidden"), "{flags:?}: {shown}");
    }
}

#[test]
fn a_certificate_is_read_at_the_start_or_its_flag_is_named() {
    let with = |certificate: &str, key: &str| {
        let flags = [
            format!("--jwt-secret={SECRET}"),
            format!("--tls-cert=tests/certificates/{certificate}"),
            format!("--tls-key=tests/certificates/{key}"),
        ];
        parse(&flags.each_ref().map(String::as_str)).unwrap().front.check()
    };
    let tls = with("one.cert.pem", "one.key.pem").unwrap().tls.unwrap();
    assert_eq!(tls.server().alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    for (certificate, key, says) in [
        ("none.pem", "one.key.pem", "--tls-cert: cannot read tests/certificates/none.pem"),
        ("one.cert.pem", "none.pem", "--tls-key: cannot read tests/certificates/none.pem"),
        (
            "one.key.pem",
            "one.key.pem",
            "--tls-cert: cannot use tests/certificates/one.key.pem: it has no certificate",
        ),
        (
            "one.cert.pem",
            "one.cert.pem",
            "--tls-key: cannot use tests/certificates/one.cert.pem: it has no private key",
        ),
        (
            "one.cert.pem",
            "two.key.pem",
            "--tls-key: cannot use tests/certificates/two.key.pem: with the certificate",
        ),
    ] {
        let wrong = with(certificate, key).unwrap_err().0;
        assert!(wrong.starts_with(says) && !wrong.contains('\n'), "{wrong}");
    }
}

#[test]
fn other_gateways_reach_this_one_where_it_listens_or_at_its_host() {
    let address = |more: &[&str]| {
        let args = parse(&[&["--jwt-secret", SECRET], more].concat()).unwrap();
        args.check().unwrap().peer.unwrap().address.to_string()
    };
    assert_eq!(address(&["--peer-listen=127.0.0.1:7200"]), "http://127.0.0.1:7200");
    assert_eq!(address(&["--peer-listen=127.0.0.1:7200", "--peer-address=http://gw-1:1"]), "http://gw-1:1");
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let anywhere = address(&["--peer-listen=0.0.0.0:7200", "--internal-insecure"]);
    assert_eq!(anywhere, format!("http://{host}:7200"));
}
