//! The page at `/`.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use system::Running;

#[tokio::test]
async fn the_page_and_its_script_need_no_credential_and_take_nothing_from_elsewhere() {
    let running = Running::start().await;
    for (path, kind) in [("/", "text/html; charset=utf-8"), ("/page.js", "text/javascript; charset=utf-8")] {
        let answer = running.raw("GET", path, &[], Vec::new()).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    }
    assert_eq!(running.raw("POST", "/", &[], Vec::new()).await.status, 405);
}
