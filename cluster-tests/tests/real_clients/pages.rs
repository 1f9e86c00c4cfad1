//! A page of another origin (and for the iframe one of the gateways' own)
//! shows what was sent, once and unharmed, over every way that browsers have.

use anyhow::Result;
use rstest::rstest;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::scene::Scene;

/// Bodies that would break out of a script, a comment, a string, a line or an
/// event if something let them.
fn wild() -> Vec<Value> {
    vec![
        json!("</script><script>window.injected=true;parent.injected=true</script>"),
        json!("<img src=x onerror='window.injected=true;parent.injected=true'>"),
        json!("<!-- <script> <!--"),
        json!({"</script>": ["]]>", {"&lt;": "&amp;"}]}),
        json!("\u{2028}window.injected=true\u{2029}\u{feff}\u{0}"),
        json!("\"quotes\" 'and' `more` ${window.injected=true}"),
        json!("\\\"); window.injected=true; (\" \\u003c \\"),
        json!("one\ntwo\r\nthree\n\ndata: four\nid: five"),
        json!("👩‍👩‍👧‍👦 🇨🇭 é \u{10ffff} العربية"),
    ]
}

#[rstest]
#[case::server_sent_events("sse")]
#[case::fetch("fetch-stream")]
#[case::xhr("xhr-stream")]
#[case::iframe("iframe")]
#[case::iframe_of_another_origin("iframe-posting")]
#[case::websocket("websocket")]
#[case::long_polling("poll")]
#[tokio::test]
async fn a_page_shows_every_message_once_and_unharmed_though_its_gateway_dies(
    #[case] transport: &str,
) -> Result<()> {
    // Iframes are given up after two heartbeats of silence.
    let mut scene = Scene::start("--heartbeat 2s").await?;
    let browser = Browser::start().await?;
    let origin = if transport == "iframe" { scene.url() } else { browser.site() };
    let page = browser.open(&origin).await?;
    page.read(transport, &scene.url(), &scene.token("bob"), transport == "sse").await?;
    // A poll has no welcome: either gateway may have it.
    let node = if transport == "poll" { "gw-0".to_owned() } else { page.node(None).await? };
    let own = scene.gateway_named(&node)?;
    let other = 1 - own;

    let mut sent = wild();
    scene.write(other, &sent).await?;
    assert_eq!(page.bodies(sent.len()).await?, sent);
    assert!(!page.ran_a_body().await?, "a script from a message ran");

    scene.cluster.gateway_node(own).kill();
    let later: Vec<Value> = (0..20).map(|number| json!(number)).collect();
    scene.write(other, &later).await?;
    sent.extend(later);
    assert_eq!(page.bodies(sent.len()).await?, sent);
    if transport != "poll" {
        page.node(Some(&node)).await?;
    }
    // Whatever came twice would have come before this one.
    scene.write(other, &[json!("last")]).await?;
    sent.push(json!("last"));
    assert_eq!(page.bodies(sent.len()).await?, sent);
    Ok(())
}

#[tokio::test]
async fn a_websocket_with_the_binary_subprotocol_brings_binary_messages() -> Result<()> {
    let scene = Scene::start("").await?;
    let browser = Browser::start().await?;
    let page = browser.open(&browser.site()).await?;
    page.read("websocket-binary", &scene.url(), &scene.token("bob"), true).await?;
    page.shown(1).await?;
    scene.write(1, &[json!("found inside")]).await?;
    let shown = page.shown(2).await?;
    assert!(shown[1].contains("found inside") && shown[1].contains("alice~bob"), "{shown:?}");
    Ok(())
}
