//! A headless Chromium, driven by a small node program (`browser/driver.mjs`)
//! that takes an order a line and answers each with a line.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

const CHROMIUM: &str = "/usr/bin/chromium";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");
/// What the driver waits for anything; here a little more.
const PATIENCE: Duration = Duration::from_secs(40);
const GRACE: Duration = Duration::from_secs(5);

/// Ends, with its pages, when it is dropped: the driver's input ends then.
#[derive(Debug)]
pub(crate) struct Browser {
    /// Held from an order to its answer.
    link: Mutex<Link>,
    port: u64,
}

/// One page of it.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    browser: &'a Browser,
    number: Value,
}

#[derive(Debug)]
struct Link {
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _driver: Child,
}

impl Browser {
    /// Starts one; says in one line what is not installed.
    pub(crate) async fn start() -> Result<Self> {
        ensure!(Path::new(CHROMIUM).exists(), "{CHROMIUM} is missing: `make tools` installs it");
        let packages = Path::new(FOLDER).join("node_modules/playwright-core");
        ensure!(packages.exists(), "playwright-core is missing: `make tools` installs it");
        let mut driver = Command::new("node")
            .args(["driver.mjs", CHROMIUM, &PATIENCE.as_millis().to_string()])
            .current_dir(FOLDER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("node is missing: `make tools` installs it")?;
        let orders = driver.stdin.take().context("its input is piped")?;
        let answers = BufReader::new(driver.stdout.take().context("its output is piped")?).lines();
        let mut link = Link { orders, answers, _driver: driver };
        let port = link.answer().await?.as_u64().context("the site has a port")?;
        Ok(Self { link: Mutex::new(link), port })
    }

    /// The origin of the site that has the page: not a gateway's.
    pub(crate) fn site(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The same site under another origin.
    pub(crate) fn other_site(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Opens the page at an origin, whether that serves it or not.
    pub(crate) async fn open(&self, origin: &str) -> Result<Page<'_>> {
        let number = self.order(json!({"do": "open", "at": origin})).await?;
        Ok(Page { browser: self, number })
    }

    async fn order(&self, order: Value) -> Result<Value> {
        let mut link = self.link.lock().await;
        link.orders.write_all(format!("{order}\n").as_bytes()).await.context("the driver takes orders")?;
        link.answer().await.with_context(|| format!("{} of a page", order["do"]))
    }
}

impl Page<'_> {
    /// Begins to read from the oldest event. A `bare` page leaves coming back
    /// to the browser; others do it themselves, with their cursor.
    pub(crate) async fn read(&self, transport: &str, base: &str, token: &str, bare: bool) -> Result<()> {
        let query = json!({"token": token, "cursor": "start"});
        self.order(json!({
            "do": "read", "transport": transport, "base": base, "query": query, "program": !bare,
        }))
        .await?;
        Ok(())
    }

    /// `fetch` with `method`, `url`, `headers` and `body`; gives `status`,
    /// `etag` and `text`.
    pub(crate) async fn request(&self, mut request: Value) -> Result<Value> {
        request["do"] = json!("request");
        self.order(request).await
    }

    /// Waits until it shows so many messages, and gives the texts of all.
    pub(crate) async fn shown(&self, count: usize) -> Result<Vec<String>> {
        let shown = self.order(json!({"do": "shown", "count": count})).await?;
        Ok(serde_json::from_value(shown)?)
    }

    /// As [`shown`](Self::shown), as the bodies that they are.
    pub(crate) async fn bodies(&self, count: usize) -> Result<Vec<Value>> {
        let texts = self.shown(count).await?;
        texts.iter().map(|text| serde_json::from_str(text).context("a body")).collect()
    }

    /// Waits until a connection of it has ended, and gives how.
    pub(crate) async fn ended(&self) -> Result<String> {
        let end = self.order(json!({"do": "ended"})).await?;
        Ok(end.as_str().context("a text")?.to_owned())
    }

    /// Waits until a node has welcomed it, another than `not`.
    pub(crate) async fn node(&self, not: Option<&str>) -> Result<String> {
        let node = self.order(json!({"do": "node", "not": not})).await?;
        Ok(node.as_str().context("a text")?.to_owned())
    }

    /// Whether a script from a message has run in it or in a frame of it.
    pub(crate) async fn ran_a_body(&self) -> Result<bool> {
        self.order(json!({"do": "ran"})).await?.as_bool().context("yes or no")
    }

    async fn order(&self, mut order: Value) -> Result<Value> {
        order["page"] = self.number.clone();
        self.browser.order(order).await
    }
}

impl Link {
    async fn answer(&mut self) -> Result<Value> {
        let line = timeout(PATIENCE + GRACE, self.answers.next_line()).await;
        let line = line.context("the browser's driver does not answer")??;
        let line = line.context("the browser's driver has ended")?;
        let mut answer: Value = serde_json::from_str(&line).context("an answer is JSON")?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{error}");
        }
        Ok(answer["value"].take())
    }
}
