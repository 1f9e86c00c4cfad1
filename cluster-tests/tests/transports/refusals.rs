//! Requests that are not what they should be: refused before anything begins,
//! on every transport in the same words.

use anyhow::{Context as _, Result};
use cluster_tests::PATIENCE;
use http::Method;
use loadtest::client::Account;
use loadtest::client::http::{Answer, Http};
use rstest::rstest;
use tokio::time::timeout;

use crate::case::Case;

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];
/// Each with what it needs.
pub(crate) const PATHS: [&str; 5] =
    ["/v1/ws?", "/v1/sse?", "/v1/stream?", "/v1/iframe?callback=parent.f&", "/v1/poll?wait=0&"];

#[rstest]
#[case::a_cursor_of_no_form("cursor=nonsense", 400, "bad_request")]
#[case::an_empty_cursor("cursor=", 400, "bad_request")]
#[case::a_cursor_in_upper_case("cursor=1.A", 400, "bad_request")]
#[case::a_device_with_a_blank("device=a%20b", 400, "bad_request")]
#[case::an_empty_device("device=", 400, "bad_request")]
#[case::a_parameter_twice("device=a&device=b", 400, "bad_request")]
#[case::no_utf_8("device=%ff", 400, "bad_request")]
#[case::acting_without_the_scope("as=somebody", 403, "forbidden")]
#[tokio::test]
async fn a_bad_parameter_is_refused_by_every_transport(
    #[case] query: &str,
    #[case] status: u16,
    #[case] code: &str,
) -> Result<()> {
    let case = Case::new().await?;
    for path in PATHS {
        refused(&case.account("bob", 0), &format!("{path}{query}"), &[], status, code).await?;
    }
    Ok(())
}

#[rstest]
#[case::none("", "")]
#[case::not_a_token("nonsense", "")]
#[case::another_key("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjo5OTk5OTk5OTk5fQ.AAAA", "")]
#[case::not_a_token_in_the_query("", "token=nonsense")]
#[case::a_ticket_that_never_was("", "ticket=nonsense")]
#[tokio::test]
async fn a_bad_credential_is_refused_by_every_transport(
    #[case] token: &str,
    #[case] query: &str,
) -> Result<()> {
    let case = Case::new().await?;
    let account = Account::new(case.gateway(0), token, "d1");
    for path in PATHS {
        // Whatever else is wrong: a stranger learns nothing of it.
        for more in ["", "&cursor=nonsense"] {
            refused(&account, &format!("{path}{query}{more}"), &[], 401, "unauthorized").await?;
        }
    }
    Ok(())
}

#[rstest]
#[case::a_wait_below_none("/v1/poll?wait=-1")]
#[case::a_wait_of_no_number("/v1/poll?wait=soon")]
#[case::a_limit_of_nothing("/v1/poll?limit=0")]
#[case::a_limit_beyond_the_most("/v1/poll?limit=1001")]
#[case::a_padding_beyond_the_most("/v1/stream?pad=65537")]
#[case::a_padding_of_no_number("/v1/stream?pad=x")]
#[case::no_callback("/v1/iframe")]
#[case::a_callback_that_is_a_script("/v1/iframe?callback=parent.alert(1)")]
#[case::a_callback_that_begins_with_a_digit("/v1/iframe?callback=parent.1x")]
#[case::a_callback_of_the_iframe_itself("/v1/iframe?callback=document.write")]
#[case::a_callback_that_ends_the_script("/v1/iframe?callback=%3C/script%3E")]
#[case::posting_to_nobody("/v1/iframe?callback=postMessage")]
#[case::posting_to_everybody("/v1/iframe?callback=postMessage&origin=*")]
#[tokio::test]
async fn a_parameter_beyond_its_range_is_refused(#[case] path: &str) -> Result<()> {
    let case = Case::new().await?;
    refused(&case.account("bob", 0), path, &[], 400, "bad_request").await
}

#[tokio::test]
async fn a_bad_last_event_id_is_refused_even_with_a_good_cursor() -> Result<()> {
    let case = Case::new().await?;
    for path in ["/v1/sse?", "/v1/stream?", "/v1/iframe?callback=parent.f&"] {
        let header = [("last-event-id", "nonsense")];
        refused(&case.account("bob", 0), &format!("{path}cursor=start"), &header, 400, "bad_request").await?;
    }
    Ok(())
}

#[tokio::test]
async fn only_unknown_subprotocols_are_refused_and_the_first_known_one_is_taken() -> Result<()> {
    let case = Case::new().await?;
    let account = case.account("bob", 0);
    refused(&account, "/v1/ws", &[("sec-websocket-protocol", "mqtt, stomp")], 400, "bad_request").await?;
    for (offered, taken) in [
        ("mqtt, switchboard.v1.json", "switchboard.v1.json"),
        ("switchboard.v1.proto, switchboard.v1.json", "switchboard.v1.proto"),
    ] {
        let answer = get(&account, "/v1/ws", &[("sec-websocket-protocol", offered)]).await?;
        assert_eq!(answer.status, 101);
        assert_eq!(answer.headers.get("sec-websocket-protocol").context("a subprotocol")?, taken);
    }
    Ok(())
}

#[tokio::test]
async fn a_handshake_that_has_lost_its_upgrade_is_told_of_proxies() -> Result<()> {
    let case = Case::new().await?;
    let mut http = case.http("bob", 0)?;
    // As a proxy passes it on that knows no WebSockets: without what is for the
    // next hop alone. And a request that never was a handshake.
    for headers in [&UPGRADE[2..], &[]] {
        let asked = http.request_with(Method::GET, "/v1/ws", None, headers);
        let answer = timeout(PATIENCE, asked).await??;
        let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
        assert_eq!((answer.status, body["code"].as_str()), (400, Some("bad_request")));
        assert!(body["message"].as_str().is_some_and(|text| text.contains("a proxy")), "{body}");
    }
    Ok(())
}

pub(crate) async fn refused(
    account: &Account,
    path: &str,
    headers: &[(&str, &str)],
    status: u16,
    code: &str,
) -> Result<()> {
    let answer = get(account, path, headers).await?;
    assert_eq!(answer.status, status, "{path}");
    assert_eq!(answer.headers.get("content-type").context("a type")?, "application/json", "{path}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(body["code"], code, "{path}: {body}");
    assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {body}");
    Ok(())
}

/// One request, with the handshake's headers where the path needs them.
pub(crate) async fn get(account: &Account, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let upgrade: &[_] = if path.starts_with("/v1/ws") { &UPGRADE } else { &[] };
    let headers = [upgrade, headers].concat();
    let mut http = Http::new(account)?;
    let asked = timeout(PATIENCE, http.request_with(Method::GET, path, None, &headers)).await;
    asked.with_context(|| format!("{path} is not answered"))?.with_context(|| path.to_owned())
}
