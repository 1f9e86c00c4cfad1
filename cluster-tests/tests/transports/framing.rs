//! The one-way streams byte by byte: headers, what stands before the first
//! frame, and where each frame's parts are.

use anyhow::{Context as _, Result};
use cluster_tests::PATIENCE;
use http::HeaderMap;
use loadtest::client::{Account, Lines};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::case::Case;

#[tokio::test]
async fn an_sse_event_is_its_type_its_cursor_and_its_frame() -> Result<()> {
    let case = Case::new().await?;
    let mut lines = Lines::open(&case.account("bob", 0), "/v1/sse?device=d1", &[]).await?;
    assert_stream(lines.headers(), "text/event-stream");
    let mut cursors = Vec::new();
    for kind in ["welcome", "message"] {
        assert_eq!(next(&mut lines).await?, format!("event: {kind}"));
        if kind == "welcome" {
            // Not in a block of its own: some parsers make an empty event of that.
            let retry = next(&mut lines).await?;
            let digits = retry.strip_prefix("retry: ");
            assert!(digits.is_some_and(|text| text.parse::<u32>().is_ok()), "{retry}");
        }
        let id = next(&mut lines).await?;
        let data = next(&mut lines).await?;
        let frame: Value = serde_json::from_str(data.strip_prefix("data: ").context("data")?)?;
        assert_eq!(frame["type"], kind);
        assert_eq!(id, format!("id: {}", frame["cursor"].as_str().context("a cursor")?));
        assert_eq!(next(&mut lines).await?, "");
        cursors.push(id);
        case.say(&mut case.http("alice", 1)?, "bob", json!("now")).await?;
    }
    assert_ne!(cursors[0], cursors[1]);
    Ok(())
}

#[tokio::test]
async fn last_event_id_counts_before_its_parameter_and_that_before_the_cursor() -> Result<()> {
    let case = Case::new().await?;
    let mut alice = case.http("alice", 1)?;
    for count in 1..=3 {
        case.say(&mut alice, "bob", json!(count)).await?;
    }
    let account = case.account("bob", 0);
    let all = bodies(&account, "cursor=start", "", 3).await?;
    let (first, second) = (&all[0].1, &all[1].1);
    for (query, header, expected) in [
        (format!("cursor={first}"), "", 2),
        (format!("cursor={first}"), second.as_str(), 3),
        ("cursor=start".into(), second.as_str(), 3),
        ("cursor=not.good".into(), second.as_str(), 3),
        (String::new(), first.as_str(), 2),
        (format!("cursor={second}"), "start", 1),
        // As polyfills say it, which set no headers and leave the rest of the URL.
        (format!("cursor={first}&lastEventId={second}"), "", 3),
        (format!("lastEventID={first}"), "", 2),
        (format!("Last-Event-ID={first}"), "", 2),
        (format!("last_event_id={first}"), "", 2),
        (format!("cursor=start&evs_last_event_id={first}&evs_preamble="), "", 2),
        (format!("lastEventId={first}"), second.as_str(), 3),
        (format!("cursor={first}&lastEventId="), "", 2),
    ] {
        let got = bodies(&account, &query, header, 1).await?;
        assert_eq!(got[0].0, json!(expected), "{query} {header}");
    }
    Ok(())
}

/// The first messages of an SSE stream, each with its cursor.
async fn bodies(account: &Account, query: &str, last: &str, count: usize) -> Result<Vec<(Value, String)>> {
    let mut lines =
        Lines::open(account, &format!("/v1/sse?device=d1&{query}"), &[("last-event-id", last)]).await?;
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let line = next(&mut lines).await?;
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let frame: Value = serde_json::from_str(data)?;
        if frame["type"] == "message" {
            let cursor = frame["cursor"].as_str().context("a cursor")?.to_owned();
            bodies.push((frame["body"].clone(), cursor));
        }
    }
    Ok(bodies)
}

#[tokio::test]
async fn a_stream_begins_with_the_padding_that_was_asked_for() -> Result<()> {
    let case = Case::new().await?;
    let account = case.account("bob", 0);
    for (pad, blanks) in
        [("&pad=2048", Some(2_048)), ("&pad=65536", Some(65_536)), ("&pad=0", None), ("", None)]
    {
        let mut lines = Lines::open(&account, &format!("/v1/stream?device=d1{pad}"), &[]).await?;
        assert_stream(lines.headers(), "application/x-ndjson");
        if let Some(blanks) = blanks {
            assert_eq!(next(&mut lines).await?, " ".repeat(blanks));
        }
        let welcome: Value = serde_json::from_str(&next(&mut lines).await?)?;
        assert_eq!(welcome["type"], "welcome");
    }
    Ok(())
}

#[tokio::test]
async fn an_iframe_calls_the_function_that_was_named() -> Result<()> {
    let case = Case::new().await?;
    let account = case.account("bob", 0);
    for (query, before, after) in [
        ("callback=parent.onFrame", "parent.onFrame(", ")"),
        ("callback=parent.$_1.x", "parent.$_1.x(", ")"),
        (
            "callback=postMessage&origin=https%3A%2F%2Fapp.example.com",
            "parent.postMessage(",
            ",\"https://app.example.com\")",
        ),
    ] {
        let mut lines = Lines::open(&account, &format!("/v1/iframe?device=d1&{query}"), &[]).await?;
        assert_stream(lines.headers(), "text/html; charset=utf-8");
        let page = next(&mut lines).await?;
        // Browsers show nothing of a page before its first kilobyte.
        assert!(page.starts_with("<!doctype html>") && page.len() >= 1_024, "{page}");
        let script = next(&mut lines).await?;
        let call = script.strip_prefix("<script>").and_then(|rest| rest.strip_suffix("</script>"));
        let json = call.and_then(|call| call.strip_prefix(before)?.strip_suffix(after));
        let frame: Value = serde_json::from_str(json.with_context(|| script.clone())?)?;
        assert_eq!(frame["type"], "welcome");
    }
    Ok(())
}

/// A stream is nobody else's, is kept nowhere, and is passed on as it comes.
fn assert_stream(headers: &HeaderMap, form: &str) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(text("content-type"), form);
    assert!(text("cache-control").contains("no-store"), "{headers:?}");
    assert_eq!((text("x-accel-buffering"), text("x-content-type-options")), ("no", "nosniff"));
}

async fn next(lines: &mut Lines) -> Result<String> {
    Ok(timeout(PATIENCE, lines.next()).await??)
}
