//! The page at `/`.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use gateway::config::Page;
use system::Running;

const FILES: [(&str, &str); 4] = [
    ("/", "text/html; charset=utf-8"),
    ("/page.css", "text/css; charset=utf-8"),
    ("/page.js", "text/javascript; charset=utf-8"),
    ("/switchboard.min.js", "text/javascript; charset=utf-8"),
];

#[tokio::test]
async fn the_page_and_its_files_need_no_credential_and_take_nothing_from_elsewhere() {
    let running = Running::start().await;
    for (path, kind) in FILES {
        let answer = running.raw("GET", path, &[], Vec::new()).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    assert_eq!(running.raw("POST", "/", &[], Vec::new()).await.status, 405);
}

#[tokio::test]
async fn a_deployment_may_go_without_the_page() {
    let running = Running::start_with(|config| config.gateway.page = Page::Off).await;
    for (path, _) in FILES {
        assert_eq!(running.raw("GET", path, &[], Vec::new()).await.status, 404, "{path}");
    }
    assert_eq!(running.raw("GET", "/v1/openapi.json", &[], Vec::new()).await.status, 200);
}
