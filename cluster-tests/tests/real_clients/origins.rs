//! Pages of other origins than the gateways': all of the resources with the
//! browser's preflights, and `--allow-origin`.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::scene::Scene;

#[tokio::test]
async fn a_page_of_another_origin_uses_the_resources_with_preflights_and_without() -> Result<()> {
    let scene = Scene::start("").await?;
    let browser = Browser::start().await?;
    let page = browser.open(&browser.site()).await?;
    let (url, token) = (scene.url(), scene.token("alice"));
    let bearer = format!("Bearer {token}");
    let body = json!({"to": "bob", "body": "hi"}).to_string();

    let sent = page
        .request(json!({
            "method": "POST",
            "url": format!("{url}/v1/messages"),
            "headers": {"authorization": bearer, "content-type": "application/json"},
            "body": body,
        }))
        .await?;
    assert_eq!(fields(&sent)?["seq"], 1);
    // The oldest form: no preflight at all.
    let sent = page
        .request(json!({
            "method": "POST",
            "url": format!("{url}/v1/messages?token={token}"),
            "headers": {"content-type": "text/plain"},
            "body": body,
        }))
        .await?;
    assert_eq!(fields(&sent)?["seq"], 2);
    let group = page
        .request(json!({
            "method": "POST",
            "url": format!("{url}/v1/conversations"),
            "headers": {"authorization": bearer, "content-type": "application/json"},
            "body": json!({"name": "group", "members": ["bob"]}).to_string(),
        }))
        .await?;
    let group = format!("{url}/v1/conversations/{}", text(&fields(&group)?["conversation"]));
    let renamed = page
        .request(json!({
            "method": "PUT",
            "url": group,
            "headers": {"authorization": bearer, "content-type": "application/json"},
            "body": json!({"name": "another"}).to_string(),
        }))
        .await?;
    assert_eq!(renamed["status"], 200, "{renamed}");
    let left = page
        .request(json!({
            "method": "DELETE",
            "url": format!("{group}/members/alice"),
            "headers": {"authorization": bearer},
        }))
        .await?;
    assert_eq!(left["status"], 200, "{left}");
    let refused = page.request(json!({"method": "GET", "url": format!("{url}/v1/conversations")})).await?;
    assert_eq!(refused["status"], 401, "the page can read refusals too");
    Ok(())
}

#[tokio::test]
async fn short_polls_of_a_page_of_another_origin_are_conditional() -> Result<()> {
    let scene = Scene::start("").await?;
    let browser = Browser::start().await?;
    let page = browser.open(&browser.site()).await?;
    scene.write(0, &[json!("hi")]).await?;
    let url = format!("{}/v1/poll?wait=0&token={}", scene.url(), scene.token("bob"));
    let first = page.request(json!({"method": "GET", "url": format!("{url}&cursor=start")})).await?;
    let answer = fields(&first)?;
    assert!(answer["events"].as_array().is_some_and(|events| events.iter().any(|one| one["body"] == "hi")));
    let next = format!("{url}&cursor={}", text(&answer["cursor"]));
    let again = page
        .request(json!({"method": "GET", "url": next, "headers": {"if-none-match": first["etag"]}}))
        .await?;
    assert_eq!(again["status"], 304, "{first} {again}");
    Ok(())
}

#[tokio::test]
async fn with_allow_origin_only_pages_of_that_origin_are_served() -> Result<()> {
    let browser = Browser::start().await?;
    let scene = Scene::start(&format!("--allow-origin {}", browser.site())).await?;
    scene.write(0, &[json!("hi")]).await?;
    let (url, token) = (scene.url(), scene.token("bob"));
    for transport in ["sse", "fetch-stream", "xhr-stream", "iframe-posting", "websocket", "poll"] {
        let allowed = browser.open(&browser.site()).await?;
        allowed.read(transport, &url, &token, true).await?;
        let shown = allowed.bodies(1).await.with_context(|| transport.to_owned())?;
        assert_eq!(shown, [json!("hi")], "{transport}");

        let refused = browser.open(&browser.other_site()).await?;
        refused.read(transport, &url, &token, true).await?;
        refused.ended().await?;
        assert!(refused.shown(0).await?.is_empty(), "{transport}");
    }
    // The gateways' own pages are of no foreign origin.
    let own = browser.open(&url).await?;
    own.read("websocket", &url, &token, true).await?;
    assert_eq!(own.bodies(1).await?, [json!("hi")]);

    let stranger = browser.open(&browser.other_site()).await?;
    let post = json!({
        "method": "POST",
        "url": format!("{url}/v1/messages"),
        "headers": {"authorization": format!("Bearer {token}"), "content-type": "application/json"},
        "body": json!({"to": "alice", "body": "no"}).to_string(),
    });
    let refused = stranger.request(post).await.unwrap_err();
    assert!(format!("{refused:#}").contains("Failed to fetch"), "{refused:#}");
    Ok(())
}

/// The fields of an answer with status 200.
fn fields(answer: &Value) -> Result<Value> {
    ensure!(answer["status"] == 200, "{answer}");
    Ok(serde_json::from_str(text(&answer["text"]))?)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
