//! Credentials for the places that cannot set headers: in the query, on every
//! transport and on any gateway.

use anyhow::{Context as _, Result};
use cluster_tests::PATIENCE;
use loadtest::client::{Account, Lines};
use serde_json::json;
use tokio::time::timeout;

use crate::case::{Case, issuer};
use crate::refusals::{PATHS, get, refused};

#[tokio::test]
async fn a_token_may_stand_in_the_query() -> Result<()> {
    let case = Case::new().await?;
    let nobody = Account::new(case.gateway(0), "", "d1");
    let token = issuer().token(&case.user("bob"));
    for path in PATHS {
        opens(&nobody, &format!("{path}token={token}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_ticket_opens_one_connection_on_any_gateway() -> Result<()> {
    let case = Case::new().await?;
    for path in PATHS {
        let mut http = case.http("bob", 0)?;
        let answer = http.request(http::Method::POST, "/v1/tickets", Some(&json!({}))).await?.json()?;
        let ticket = answer["ticket"].as_str().context("a ticket")?;
        let nobody = Account::new(case.gateway(1), "", "d1");
        let path = format!("{path}ticket={ticket}");
        opens(&nobody, &path).await?;
        refused(&nobody, &path, &[], 401, "unauthorized").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_header_counts_before_the_query() -> Result<()> {
    let case = Case::new().await?;
    let token = issuer().token(&case.user("bob"));
    let stranger = Account::new(case.gateway(0), "nonsense", "d1");
    for path in PATHS {
        refused(&stranger, &format!("{path}token={token}"), &[], 401, "unauthorized").await?;
        opens(&case.account("bob", 0), &format!("{path}token=nonsense")).await?;
    }
    Ok(())
}

/// The request is taken. Streams do not end: of them only the beginning is
/// read.
async fn opens(account: &Account, path: &str) -> Result<()> {
    if path.starts_with("/v1/ws") || path.starts_with("/v1/poll") {
        let answer = get(account, path, &[]).await?;
        assert!(matches!(answer.status, 101 | 200), "{path}: {}", answer.status);
    } else {
        timeout(PATIENCE, Lines::open(account, path, &[])).await?.with_context(|| path.to_owned())?;
    }
    Ok(())
}
